// Command load measures: throughput, round trips and dials, through a konnectivity front or directly. It is also the
// target of the measurement, and a relay and a link with a delay. Output is JSON, one object a line: {"event":"steady"} when the warm-up is over, so that
// others can sample CPU time of the same window, and {"event":"done",...} at its end.
package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"

	"culvert.test/ground/front"
	"google.golang.org/grpc/grpclog"
	"k8s.io/klog/v2"
)

type options struct {
	front   front.Front
	to      string
	counter string
	direct  bool
	greeted bool
	tls     *tls.Config
	streams int
	stalled int
	chunk   int
	count   int
	bulk    int
	think   time.Duration
	seconds float64
	warmup  float64
}

type result map[string]any

var commands = map[string]func(context.Context, *options) (result, error){
	"blast":       blast,
	"drain":       drain,
	"pingpong":    pingpong,
	"dial":        dialAndClose,
	"interactive": interactive,
}

func main() {
	if len(os.Args) < 2 {
		usage()
	}
	name := os.Args[1]
	switch name {
	case "target":
		fatal(serveTarget(os.Args[2:]))
	case "relay":
		fatal(serveRelay(os.Args[2:]))
	case "link":
		fatal(serveLink(os.Args[2:]))
	}
	command := commands[name]
	if command == nil {
		usage()
	}

	opts := &options{}
	flags := flag.NewFlagSet(name, flag.ExitOnError)
	opts.front.Register(flags)
	flags.StringVar(&opts.to, "to", "", "HOST:PORT of the target as the front knows it")
	flags.StringVar(&opts.counter, "counter", "", "blast: HOST:PORT of the target as this process reaches it (default --to)")
	flags.BoolVar(&opts.direct, "direct", false, "dial --to without a front, with TLS if --ca is given")
	flags.BoolVar(&opts.greeted, "greeted", false, "a dial ends with a byte that the other end sends")
	flags.IntVar(&opts.streams, "streams", 1, "number of connections, the stalled ones included")
	flags.IntVar(&opts.stalled, "stalled", 0, "how many of them stall: their reader (the target in blast, we in drain) never reads")
	flags.IntVar(&opts.chunk, "chunk", 16<<10, "bytes of each write")
	flags.IntVar(&opts.count, "count", 2000, "pingpong: round trips; dial: dials")
	flags.IntVar(&opts.bulk, "bulk", 0, "interactive: connections beside --streams that write without end")
	flags.DurationVar(&opts.think, "think", 10*time.Millisecond, "interactive: pause after each answer")
	flags.Float64Var(&opts.seconds, "seconds", 3, "length of the measured window")
	flags.Float64Var(&opts.warmup, "warmup", 1, "seconds before the window (pingpong, dial: a tenth of the count instead)")
	_ = flags.Parse(os.Args[2:])
	quiet()

	if !opts.direct {
		fatal(opts.front.Open())
	} else if opts.front.CA != "" {
		config, err := opts.front.TLS()
		fatal(err)
		opts.tls = config
	}
	if opts.counter == "" {
		opts.counter = opts.to
	}
	out, err := command(context.Background(), opts)
	fatal(err)
	out["event"], out["command"] = "done", name
	emit(out)
}

func (o *options) dial(ctx context.Context) (net.Conn, error) {
	conn, err := o.connect(ctx)
	if err != nil || !o.greeted {
		return conn, err
	}
	_, err = io.ReadFull(conn, make([]byte, 1))
	return conn, err
}

func (o *options) connect(ctx context.Context) (net.Conn, error) {
	if !o.direct {
		return o.front.Dial(ctx, o.to)
	}
	if o.tls == nil {
		return (&net.Dialer{}).DialContext(ctx, "tcp", o.to)
	}
	return (&tls.Dialer{Config: o.tls}).DialContext(ctx, "tcp", o.to)
}

// open dials and announces the kind of the connection.
func (o *options) open(ctx context.Context, kind byte) (net.Conn, error) {
	conn, err := o.dial(ctx)
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", o.to, err)
	}
	return conn, o.announce(conn, kind)
}

// announce tells the target what kind of connection this is.
func (o *options) announce(conn net.Conn, kind byte) error {
	if _, err := conn.Write([]byte{kind}); err != nil {
		return fmt.Errorf("first byte to %s: %w", o.to, err)
	}
	return nil
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

func emit(out result) {
	line, err := json.Marshal(out)
	fatal(err)
	fmt.Println(string(line))
}

func fatal(err error) {
	if err == nil {
		return
	}
	fmt.Fprintln(os.Stderr, "load:", err)
	os.Exit(1)
}

func usage() {
	names := []string{"target", "relay", "link"}
	for name := range commands {
		names = append(names, name)
	}
	fmt.Fprintf(os.Stderr, "usage: load %s [flags]\n", strings.Join(names, "|"))
	os.Exit(2)
}

// quiet keeps the library's logs away: stdout is for results, stderr for our own errors.
func quiet() {
	grpclog.SetLoggerV2(grpclog.NewLoggerV2(io.Discard, io.Discard, os.Stderr))
	flags := flag.NewFlagSet("klog", flag.ContinueOnError)
	klog.InitFlags(flags)
	_ = flags.Set("logtostderr", "false")
	_ = flags.Set("stderrthreshold", "FATAL")
	klog.SetOutput(io.Discard)
}
