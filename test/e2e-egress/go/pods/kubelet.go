package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"
	constants "k8s.io/apimachinery/pkg/util/remotecommand"
	client "k8s.io/client-go/tools/remotecommand"
	"k8s.io/kubelet/pkg/cri/streaming/portforward"
	"k8s.io/kubelet/pkg/cri/streaming/remotecommand"
	utilexec "k8s.io/utils/exec"
)

const (
	lineInterval  = 20 * time.Millisecond
	streamTimeout = 30 * time.Second
	idleTimeout   = 4 * time.Hour
)

// kubeletHandler serves the paths of a kubelet that kube-apiserver calls.
// Forwarded ports lead to `echo`, whichever port is asked for.
func kubeletHandler(echo string) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/containerLogs/{namespace}/{pod}/{container}", logs)
	mux.HandleFunc("/exec/{namespace}/{pod}/{container}", func(w http.ResponseWriter, r *http.Request) {
		options, err := remotecommand.NewOptions(r)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		remotecommand.ServeExec(w, r, executor{}, r.PathValue("pod"), "", r.PathValue("container"),
			r.URL.Query()["command"], options, idleTimeout, streamTimeout, constants.SupportedStreamingProtocols)
	})
	mux.HandleFunc("/portForward/{namespace}/{pod}", func(w http.ResponseWriter, r *http.Request) {
		options, err := portforward.NewV4Options(r)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		portforward.ServePortForward(w, r, forwarder{echo}, r.PathValue("pod"), "", options,
			idleTimeout, streamTimeout, portforward.SupportedProtocols)
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "kubelet %s\n", r.URL.Path)
	})
	return mux
}

// logs writes `line 0`, `line 1` and so on: as many as tailLines says, and with follow=true one
// more each 20 ms.
func logs(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	tail, err := strconv.Atoi(query.Get("tailLines"))
	if err != nil {
		tail = 10
	}
	w.WriteHeader(http.StatusOK)
	number := 0
	for ; number < tail; number++ {
		fmt.Fprintf(w, "line %d\n", number)
	}
	if query.Get("follow") != "true" {
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

type executor struct{}

// ExecInContainer knows the commands `cat` (copies stdin to stdout), `fail` (code 3) and `echo`.
func (executor) ExecInContainer(_ context.Context, _ string, _ types.UID, _ string, cmd []string,
	in io.Reader, out, errOut io.WriteCloser, _ bool, _ <-chan client.TerminalSize, _ time.Duration) error {
	switch cmd[0] {
	case "cat":
		_, err := io.Copy(out, in)
		return err
	case "fail":
		fmt.Fprintln(errOut, "failed on purpose")
		return utilexec.CodeExitError{Err: fmt.Errorf("failed on purpose"), Code: 3}
	default:
		_, err := fmt.Fprintln(out, strings.Join(cmd[1:], " "))
		return err
	}
}

type forwarder struct{ target string }

func (f forwarder) PortForward(_ context.Context, _ string, _ types.UID, _ int32, stream io.ReadWriteCloser) error {
	conn, err := net.Dial("tcp", f.target)
	if err != nil {
		return err
	}
	defer conn.Close()
	go func() {
		_, _ = io.Copy(conn, stream)
		_ = conn.(*net.TCPConn).CloseWrite()
	}()
	_, err = io.Copy(stream, conn)
	return err
}
