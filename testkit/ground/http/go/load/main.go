// Command load measures one way to a kube-apiserver with HTTP requests. It writes lines of JSON: {"event":"steady"} when
// the measurement begins, {"event":"done", ...} with the figures.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"k8s.io/client-go/rest"
)

type result map[string]any

type options struct {
	url         string
	ca          string
	serverName  string
	token       string
	protocol    string
	front       front
	path        string
	connections int
	seconds     float64
	warmup      float64
	count       int
	bytes       int64
	writer      string
	writerCA    string
	writerToken string
	namespace   string
	pod         string
}

var commands = map[string]func(context.Context, *options) (result, error){
	"get":      get,
	"download": download,
	"upload":   upload,
	"watches":  watches,
	"exec":     execEcho,
}

func main() {
	if len(os.Args) < 2 || commands[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: load get|download|upload|watches|exec [flags]")
		os.Exit(2)
	}
	opts := &options{}
	flags := flag.NewFlagSet(os.Args[1], flag.ExitOnError)
	flags.StringVar(&opts.url, "url", "", "the base URL, with a path prefix if the way has one")
	flags.StringVar(&opts.ca, "ca", "", "file with the CA of the server")
	flags.StringVar(&opts.serverName, "server-name", "", "the name in the server's certificate, if it is not that of the URL")
	flags.StringVar(&opts.token, "token", "", "file with the bearer token")
	flags.StringVar(&opts.protocol, "protocol", "h2", "h1 or h2")
	opts.front.register(flags)
	flags.StringVar(&opts.path, "path", "", "the path of requests")
	flags.IntVar(&opts.connections, "connections", 1, "get: connections, each with one request at a time")
	flags.Float64Var(&opts.seconds, "seconds", 2, "how long the measurement takes")
	flags.Float64Var(&opts.warmup, "warmup", 0.5, "how long it is not yet counted")
	flags.IntVar(&opts.count, "count", 1000, "watches: how many; exec: round trips")
	flags.Int64Var(&opts.bytes, "bytes", 0, "download: the least size of a body; upload: the size of a body")
	flags.StringVar(&opts.writer, "writer", "", "watches: the URL of the API server to which changes are written")
	flags.StringVar(&opts.writerCA, "writer-ca", "", "watches: its CA")
	flags.StringVar(&opts.writerToken, "writer-token", "", "watches: a token for it")
	flags.StringVar(&opts.namespace, "namespace", "default", "watches, exec: the namespace")
	flags.StringVar(&opts.pod, "pod", "", "exec: the pod")
	_ = flags.Parse(os.Args[2:])

	out, err := commands[os.Args[1]](context.Background(), opts)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	out["event"] = "done"
	emit(out)
}

// config is for client-go, which speaks HTTP/2 where the server does.
func (o *options) config() *rest.Config {
	cfg := &rest.Config{Host: o.url, BearerTokenFile: o.token, QPS: -1}
	cfg.TLSClientConfig.CAFile = o.ca
	cfg.TLSClientConfig.ServerName = o.serverName
	if o.front.address != "" {
		cfg.Dial = o.front.dial
	}
	if o.protocol == "h1" {
		cfg.TLSClientConfig.NextProtos = []string{"http/1.1"}
	}
	return cfg
}

func (o *options) bearer() (string, error) {
	if o.token == "" {
		return "", nil
	}
	text, err := os.ReadFile(o.token)
	return "Bearer " + strings.TrimSpace(string(text)), err
}

func emit(out result) {
	line, err := json.Marshal(out)
	if err != nil {
		panic(err)
	}
	fmt.Println(string(line))
}

func micros(since time.Time) float64 { return float64(time.Since(since).Nanoseconds()) / 1000 }

func quantile(samples []float64, q float64) float64 {
	if len(samples) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(samples))
	return sorted[int(float64(len(sorted)-1)*q)]
}
