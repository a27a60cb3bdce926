// Command kubelet serves the paths of a kubelet that a kube-apiserver calls, with kubelet's own streaming code. A
// container is the directory --root on this machine: its commands are programs that run there.
package main

import (
	"crypto/tls"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strconv"
	"time"
)

const lineInterval = 20 * time.Millisecond

func main() {
	address := flag.String("listen", "127.0.0.1:0", "where to listen")
	cert := flag.String("cert", "", "the certificate")
	key := flag.String("key", "", "its key")
	root := flag.String("root", "", "the working directory of commands")
	flag.Parse()
	pair, err := tls.LoadX509KeyPair(*cert, *key)
	if err != nil {
		log.Fatal(err)
	}
	listener, err := net.Listen("tcp", *address)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("{\"event\":\"listens\",\"port\":%d}\n", listener.Addr().(*net.TCPAddr).Port)
	config := &tls.Config{Certificates: []tls.Certificate{pair}, NextProtos: []string{"h2", "http/1.1"}}
	server := &http.Server{Handler: handler(*root)}
	server.Protocols = new(http.Protocols)
	server.Protocols.SetHTTP1(true)
	server.Protocols.SetHTTP2(true)
	log.Fatal(server.Serve(tls.NewListener(listener, config)))
}

func handler(root string) http.Handler {
	mux := http.NewServeMux()
	streams(mux, root)
	mux.HandleFunc("/containerLogs/{namespace}/{pod}/{container}", logs)
	mux.HandleFunc("/download", download)
	mux.HandleFunc("/upload", upload)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "kubelet %s\n", r.URL.Path) })
	return mux
}

// logs writes `line 0`, `line 1` and so on: as many as tailLines says, and with follow=true one more each 20 ms.
func logs(w http.ResponseWriter, r *http.Request) {
	tail, err := strconv.Atoi(r.URL.Query().Get("tailLines"))
	if err != nil {
		tail = 10
	}
	w.WriteHeader(http.StatusOK)
	number := 0
	for ; number < tail; number++ {
		fmt.Fprintf(w, "line %d\n", number)
	}
	if r.URL.Query().Get("follow") != "true" {
		return
	}
	ticker := time.NewTicker(lineInterval)
	defer ticker.Stop()
	flusher := http.NewResponseController(w)
	for ; ; number++ {
		if _, err := fmt.Fprintf(w, "line %d\n", number); err != nil || flusher.Flush() != nil {
			return
		}
		select {
		case <-ticker.C:
		case <-r.Context().Done():
			return
		}
	}
}

// download sends as many zeroes as the parameter bytes says.
func download(w http.ResponseWriter, r *http.Request) {
	left, err := strconv.ParseInt(r.URL.Query().Get("bytes"), 10, 64)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Length", strconv.FormatInt(left, 10))
	chunk := make([]byte, 256<<10)
	for left > 0 {
		n, err := w.Write(chunk[:min(left, int64(len(chunk)))])
		if err != nil {
			return
		}
		left -= int64(n)
	}
}

// upload answers with the number of bytes of the body.
func upload(w http.ResponseWriter, r *http.Request) {
	count, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, r.Body, make([]byte, 256<<10))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	fmt.Fprintf(w, "%d\n", count)
}
