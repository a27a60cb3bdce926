// Command client is a test client on the unmodified konnectivity-client. Each sub-command does one thing that users of
// the library do, prints one line of JSON and exits 0 when it went as it should, else 1.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"culvert.test/ground/front"
	"google.golang.org/grpc/grpclog"
	"k8s.io/klog/v2"
)

// result is what a sub-command prints.
type result map[string]any

// options are the flags; each sub-command reads those that concern it.
type options struct {
	front     front.Front
	to        string
	stalledTo string
	bytes     int64
	count     int
	atOnce    int
	streams   int
	direction string
	confirm   bool
	after     time.Duration
	window    time.Duration
	timeout   time.Duration
	insecure  bool
	untilEOF  bool
}

var commands = map[string]func(context.Context, *options, []string) (result, error){
	"get":          get,
	"proxy-get":    proxyGet,
	"hash":         hash,
	"parallel":     parallel,
	"server-first": serverFirst,
	"write-close":  writeClose,
	"dial-error":   dialError,
	"cancel":       cancelDial,
	"isolation":    isolation,
	"hang":         hang,
}

func main() {
	if len(os.Args) < 2 || commands[os.Args[1]] == nil {
		fmt.Fprintf(os.Stderr, "usage: client %s [flags]\n", strings.Join(names(), "|"))
		os.Exit(2)
	}
	name := os.Args[1]
	opts, rest := parse(name, os.Args[2:])
	quiet()

	// A connection of the library knows no deadline, so a hang is ended here, and said.
	time.AfterFunc(opts.timeout, func() {
		finish(result{"command": name}, fmt.Errorf("%s took longer than %s", name, opts.timeout))
	})
	if err := opts.front.Open(); err != nil {
		finish(result{"command": name}, err)
	}
	out, err := commands[name](context.Background(), opts, rest)
	if out == nil {
		out = result{}
	}
	out["command"] = name
	finish(out, err)
}

func parse(name string, args []string) (*options, []string) {
	opts := &options{}
	flags := flag.NewFlagSet(name, flag.ExitOnError)
	opts.front.Register(flags)
	flags.StringVar(&opts.to, "to", "", "HOST:PORT to dial through the front")
	flags.StringVar(&opts.stalledTo, "stalled-to", "", "isolation: what the stalled stream dials (default --to)")
	flags.Int64Var(&opts.bytes, "bytes", 1<<20, "bytes for each connection")
	flags.IntVar(&opts.count, "count", 1, "number of connections")
	flags.IntVar(&opts.atOnce, "at-once", 8, "connections at the same time (parallel: all)")
	flags.IntVar(&opts.streams, "streams", 8, "isolation: streams, the stalled one included")
	flags.StringVar(&opts.direction, "direction", "down", "up or down")
	flags.BoolVar(&opts.confirm, "confirm", false, "hash, up: wait for one byte from the target before closing")
	flags.DurationVar(&opts.after, "after", 200*time.Millisecond, "cancel: when to give up")
	flags.DurationVar(&opts.window, "window", 2*time.Second, "isolation: how long to measure, before and during")
	flags.DurationVar(&opts.timeout, "timeout", time.Minute, "limit for the whole command")
	flags.BoolVar(&opts.insecure, "insecure-target", false, "get, proxy-get: do not verify the certificate of an https target")
	flags.BoolVar(&opts.untilEOF, "until-eof", false, "server-first: the target closes after its bytes")

	// Flags may stand before and after the one positional argument (get URL).
	var rest []string
	for len(args) > 0 {
		_ = flags.Parse(args)
		if args = flags.Args(); len(args) > 0 {
			rest, args = append(rest, args[0]), args[1:]
		}
	}
	return opts, rest
}

func finish(out result, err error) {
	out["ok"] = err == nil
	if err != nil {
		out["error"] = err.Error()
	}
	line, marshalErr := json.Marshal(out)
	if marshalErr != nil {
		line = []byte(marshalErr.Error())
	}
	fmt.Println(string(line))
	if err != nil {
		os.Exit(1)
	}
	os.Exit(0)
}

// quiet keeps the library's logs off our output: results are on stdout, and stderr is for what went wrong.
func quiet() {
	grpclog.SetLoggerV2(grpclog.NewLoggerV2(io.Discard, io.Discard, os.Stderr))
	flags := flag.NewFlagSet("klog", flag.ContinueOnError)
	klog.InitFlags(flags)
	_ = flags.Set("stderrthreshold", "FATAL")
	_ = flags.Set("logtostderr", "false")
	klog.SetOutput(io.Discard)
}

func names() []string {
	var all []string
	for name := range commands {
		all = append(all, name)
	}
	return all
}

var errTimedOut = errors.New("timed out")

// within runs work and gives up waiting for it after limit; the work itself cannot be stopped.
func within(limit time.Duration, work func() error) error {
	done := make(chan error, 1)
	go func() { done <- work() }()
	select {
	case err := <-done:
		return err
	case <-time.After(limit):
		return fmt.Errorf("%w after %s", errTimedOut, limit)
	}
}
