// Command pods is everything that a kube-apiserver reaches in a cluster's network: a webhook, an
// aggregated API, a kubelet with kubelet's own streaming code, and a pod.
package main

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strings"

	admission "k8s.io/api/admission/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func main() {
	cert := flag.String("cert", "", "the certificate of all HTTPS servers")
	key := flag.String("key", "", "its key")
	webhook := flag.String("webhook", "", "addresses of the webhook, separated by commas")
	api := flag.String("api", "", "addresses of the aggregated API")
	kubelet := flag.String("kubelet", "", "addresses of the kubelet")
	pod := flag.String("pod", "", "address of the pod's HTTP server")
	echo := flag.String("echo", "", "address of the pod's TCP echo server")
	flag.Parse()

	pair, err := tls.LoadX509KeyPair(*cert, *key)
	if err != nil {
		log.Fatal(err)
	}
	serveTLS(*webhook, pair, http.HandlerFunc(review))
	serveTLS(*api, pair, http.HandlerFunc(aggregated))
	serveTLS(*kubelet, pair, kubeletHandler(*echo))
	go serve(listen(*pod), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "pod %s\n", r.URL.Path)
	}))
	go serveEcho(listen(*echo))
	fmt.Println("ready")
	select {}
}

func listen(address string) net.Listener {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		log.Fatal(err)
	}
	return listener
}

func serveTLS(addresses string, pair tls.Certificate, handler http.Handler) {
	for _, address := range strings.Split(addresses, ",") {
		// With the protocol h2, as servers built with k8s.io/apiserver offer it.
		config := &tls.Config{Certificates: []tls.Certificate{pair}, NextProtos: []string{"h2", "http/1.1"}}
		go serve(tls.NewListener(listen(address), config), handler)
	}
}

func serve(listener net.Listener, handler http.Handler) {
	server := &http.Server{Handler: handler}
	// Serve alone does not speak h2 on a listener that is TLS already.
	server.Protocols = new(http.Protocols)
	server.Protocols.SetHTTP1(true)
	server.Protocols.SetHTTP2(true)
	log.Fatal(server.Serve(listener))
}

func serveEcho(listener net.Listener) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			log.Fatal(err)
		}
		go func() {
			defer conn.Close()
			_, _ = io.Copy(conn, conn)
		}()
	}
}

// review denies every object that has the label "deny".
func review(w http.ResponseWriter, r *http.Request) {
	var in admission.AdmissionReview
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil || in.Request == nil {
		http.Error(w, fmt.Sprint("no AdmissionReview: ", err), http.StatusBadRequest)
		return
	}
	var object meta.PartialObjectMetadata
	_ = json.Unmarshal(in.Request.Object.Raw, &object)
	_, denied := object.Labels["deny"]
	out := admission.AdmissionReview{TypeMeta: in.TypeMeta}
	out.Response = &admission.AdmissionResponse{UID: in.Request.UID, Allowed: !denied}
	if denied {
		out.Response.Result = &meta.Status{Message: "denied by " + r.URL.Path}
	}
	answer(w, out)
}

const (
	group        = "egress.culvert.test"
	groupVersion = group + "/v1"
)

// aggregated serves echoes/NAME, which names the user of the request, and the discovery of it.
func aggregated(w http.ResponseWriter, r *http.Request) {
	path := "/apis/" + groupVersion
	name, isEcho := strings.CutPrefix(r.URL.Path, path+"/echoes/")
	switch {
	case r.URL.Path == path:
		answer(w, meta.APIResourceList{
			TypeMeta:     meta.TypeMeta{Kind: "APIResourceList", APIVersion: "v1"},
			GroupVersion: groupVersion,
			APIResources: []meta.APIResource{
				{Name: "echoes", SingularName: "echo", Kind: "Echo", Verbs: meta.Verbs{"get"}},
			},
		})
	case isEcho:
		answer(w, map[string]any{
			"kind":       "Echo",
			"apiVersion": groupVersion,
			"metadata":   map[string]any{"name": name},
			"user":       r.Header.Get("X-Remote-User"),
			"protocol":   r.Proto,
		})
	default:
		http.NotFound(w, r)
	}
}

func answer(w http.ResponseWriter, body any) {
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(body); err != nil && !errors.Is(err, net.ErrClosed) {
		log.Print(err)
	}
}
