package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"time"

	"github.com/creack/pty"
	"k8s.io/apimachinery/pkg/types"
	constants "k8s.io/apimachinery/pkg/util/remotecommand"
	client "k8s.io/client-go/tools/remotecommand"
	"k8s.io/kubelet/pkg/cri/streaming/portforward"
	"k8s.io/kubelet/pkg/cri/streaming/remotecommand"
	utilexec "k8s.io/utils/exec"
)

const (
	streamTimeout = 30 * time.Second
	idleTimeout   = 4 * time.Hour
)

// attached is what `kubectl attach` attaches to.
var attached = []string{"sh", "-c", "while read -r line; do echo \"attached: $line\"; done"}

// streams adds exec, attach and port-forward. A forwarded port is the same port of 127.0.0.1.
func streams(mux *http.ServeMux, root string) {
	mux.HandleFunc("/exec/{namespace}/{pod}/{container}", func(w http.ResponseWriter, r *http.Request) {
		options, err := remotecommand.NewOptions(r)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		remotecommand.ServeExec(w, r, container{root}, r.PathValue("pod"), "", r.PathValue("container"),
			r.URL.Query()["command"], options, idleTimeout, streamTimeout, constants.SupportedStreamingProtocols)
	})
	mux.HandleFunc("/attach/{namespace}/{pod}/{container}", func(w http.ResponseWriter, r *http.Request) {
		options, err := remotecommand.NewOptions(r)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		remotecommand.ServeAttach(w, r, container{root}, r.PathValue("pod"), "", r.PathValue("container"),
			options, idleTimeout, streamTimeout, constants.SupportedStreamingProtocols)
	})
	mux.HandleFunc("/portForward/{namespace}/{pod}", func(w http.ResponseWriter, r *http.Request) {
		options, err := portforward.NewV4Options(r)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		portforward.ServePortForward(w, r, forwarder{}, r.PathValue("pod"), "", options,
			idleTimeout, streamTimeout, portforward.SupportedProtocols)
	})
}

type container struct{ root string }

func (c container) AttachContainer(ctx context.Context, pod string, uid types.UID, name string,
	in io.Reader, out, errOut io.WriteCloser, tty bool, resize <-chan client.TerminalSize) error {
	return c.ExecInContainer(ctx, pod, uid, name, attached, in, out, errOut, tty, resize, 0)
}

func (c container) ExecInContainer(ctx context.Context, _ string, _ types.UID, _ string, command []string,
	in io.Reader, out, errOut io.WriteCloser, tty bool, resize <-chan client.TerminalSize, _ time.Duration) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	program := exec.CommandContext(ctx, command[0], command[1:]...)
	program.Dir = c.root
	if tty {
		return exitOf(onTerminal(program, in, out, resize))
	}
	program.Stdout, program.Stderr = out, errOut
	if in == nil {
		return exitOf(program.Run())
	}
	// Stdin of a program that ends without reading it all must not delay the exit.
	stdin, err := program.StdinPipe()
	if err != nil {
		return err
	}
	if err := program.Start(); err != nil {
		return err
	}
	go func() {
		_, _ = io.Copy(stdin, in)
		stdin.Close()
	}()
	return exitOf(program.Wait())
}

func onTerminal(program *exec.Cmd, in io.Reader, out io.Writer, resize <-chan client.TerminalSize) error {
	terminal, err := pty.Start(program)
	if err != nil {
		return err
	}
	defer terminal.Close()
	go func() {
		for size := range resize {
			_ = pty.Setsize(terminal, &pty.Winsize{Rows: size.Height, Cols: size.Width})
		}
	}()
	if in != nil {
		go func() { _, _ = io.Copy(terminal, in) }()
	}
	// A read of a terminal whose program has ended is an error.
	_, _ = io.Copy(out, terminal)
	return program.Wait()
}

func exitOf(err error) error {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return utilexec.CodeExitError{Err: err, Code: exit.ExitCode()}
	}
	return err
}

type forwarder struct{}

func (forwarder) PortForward(_ context.Context, _ string, _ types.UID, port int32, stream io.ReadWriteCloser) error {
	conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
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
