package main

import (
	"flag"
	"net"
	"time"
)

// Pieces on their way in one direction of a relayed connection. When all are used, the sender has to wait.
const (
	pieceBytes  = 64 << 10
	maxInFlight = 1024
)

// serveRelay listens on a loopback port, prints it, and passes connections on to another address. Each byte arrives
// some time after it was sent, as over a long line without losses.
func serveRelay(args []string) error {
	flags := flag.NewFlagSet("relay", flag.ExitOnError)
	to := flags.String("to", "", "HOST:PORT where connections go")
	delay := flags.Duration("delay", 10*time.Millisecond, "time that each direction takes")
	_ = flags.Parse(args)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	address := listener.Addr().(*net.TCPAddr)
	emit(result{"event": "listening", "address": address.String(), "port": address.Port})
	for {
		near, err := listener.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer near.Close()
			far, err := net.Dial("tcp", *to)
			if err != nil {
				return
			}
			defer far.Close()
			ended := make(chan struct{}, 2)
			go carry(far, near, *delay, ended)
			go carry(near, far, *delay, ended)
			<-ended
			<-ended
		}()
	}
}

type piece struct {
	bytes []byte
	due   time.Time
}

// carry copies one direction until its end, which it passes on as a half-close.
func carry(to, from net.Conn, delay time.Duration, ended chan<- struct{}) {
	flying := make(chan piece, maxInFlight)
	spare := make(chan []byte, maxInFlight)
	go func() {
		defer close(flying)
		for {
			var buffer []byte
			select {
			case buffer = <-spare:
			default:
				buffer = make([]byte, pieceBytes)
			}
			n, err := from.Read(buffer)
			if n > 0 {
				flying <- piece{buffer[:n], time.Now().Add(delay)}
			}
			if err != nil {
				return
			}
		}
	}()
	for next := range flying {
		time.Sleep(time.Until(next.due))
		if _, err := to.Write(next.bytes); err != nil {
			// The reader must not wait for room for ever.
			from.Close()
			break
		}
		select {
		case spare <- next.bytes[:pieceBytes]:
		default:
		}
	}
	if half, ok := to.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
	for range flying {
	}
	ended <- struct{}{}
}
