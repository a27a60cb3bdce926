// Command client is a user of Cluster Proxy as its README shows one: client-go with cfg.Host set to the name of a managed
// cluster and cfg.Dial to a konnectivity tunnel. Each sub-command does one thing, prints one line of JSON and exits 0
// when it went as it should, else 1.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc/grpclog"
	"k8s.io/klog/v2"
)

// result is what a sub-command prints.
type result map[string]any

// options are the flags; each sub-command reads those that concern it.
type options struct {
	user      user
	namespace string
	path      string
	bytes     int64
	workers   int
	every     time.Duration
	timeout   time.Duration
}

var commands = map[string]func(context.Context, *options) (result, error){
	"healthz":  healthz,
	"pods":     pods,
	"watch":    watchConfigMaps,
	"download": download,
	"load":     load,
}

func main() {
	if len(os.Args) < 2 || commands[os.Args[1]] == nil {
		fmt.Fprintf(os.Stderr, "usage: client %s [flags]\n", strings.Join(names(), "|"))
		os.Exit(2)
	}
	name := os.Args[1]
	opts := parse(name, os.Args[2:])
	// Log lines of the libraries would stand between those of ours.
	klog.LogToStderr(false)
	klog.SetOutput(io.Discard)
	grpclog.SetLoggerV2(grpclog.NewLoggerV2(io.Discard, io.Discard, io.Discard))

	if opts.timeout > 0 {
		// Whatever hangs is ended here, and said.
		time.AfterFunc(opts.timeout, func() {
			finish(result{"command": name}, fmt.Errorf("%s took longer than %s", name, opts.timeout))
		})
	}
	if err := opts.user.open(); err != nil {
		finish(result{"command": name}, err)
	}
	out, err := commands[name](context.Background(), opts)
	if out == nil {
		out = result{}
	}
	out["command"] = name
	finish(out, err)
}

func parse(name string, args []string) *options {
	opts := &options{}
	flags := flag.NewFlagSet(name, flag.ExitOnError)
	opts.user.register(flags)
	flags.StringVar(&opts.namespace, "namespace", "default", "namespace in the managed cluster")
	flags.StringVar(&opts.path, "path", "", "download, load: path of pattern bytes at the managed kube-apiserver")
	flags.Int64Var(&opts.bytes, "bytes", 1<<20, "download: how many there must be")
	flags.IntVar(&opts.workers, "workers", 1, "load: how many ask for /healthz at the same time")
	flags.DurationVar(&opts.every, "every", 250*time.Millisecond, "load: pause between two requests of a worker")
	flags.DurationVar(&opts.timeout, "timeout", time.Minute, "limit for the whole command; 0 is none")
	_ = flags.Parse(args)
	return opts
}

func finish(out result, err error) {
	out["ok"] = err == nil
	if err != nil {
		out["error"] = err.Error()
	}
	print(out)
	if err != nil {
		os.Exit(1)
	}
	os.Exit(0)
}

func print(out result) {
	line, err := json.Marshal(out)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(string(line))
}

func names() []string {
	var all []string
	for name := range commands {
		all = append(all, name)
	}
	slices.Sort(all)
	return all
}
