package main

import (
	"encoding/binary"
	"flag"
	"io"
	"net"
	"sync/atomic"
)

// The first byte of a connection says what the target does with it: so one target serves every measurement,
// also behind a relay that knows a single address.
const (
	kindSink    = 'u' // read and count
	kindSource  = 'd' // write for ever
	kindEcho    = 'e'
	kindStall   = 's' // never read again
	kindCounter = 'c' // each byte is answered with the bytes that all sinks have received, as a big-endian uint64
)

const bufferBytes = 256 << 10

// serveTarget listens on a port of the system's choice, prints it, and serves until it is killed.
func serveTarget(args []string) error {
	flags := flag.NewFlagSet("target", flag.ExitOnError)
	host := flags.String("host", "127.0.0.1", "address to listen at")
	_ = flags.Parse(args)
	listener, err := net.Listen("tcp", net.JoinHostPort(*host, "0"))
	if err != nil {
		return err
	}
	address := listener.Addr().(*net.TCPAddr)
	emit(result{"event": "listening", "address": address.String(), "port": address.Port})
	var received atomic.Uint64
	for {
		conn, err := listener.Accept()
		if err != nil {
			return err
		}
		go serve(conn, &received)
	}
}

// sendBufferBytes bounds what the kernel holds for each of a thousand connections. Otherwise their full buffers reach
// the machine's limit (net.ipv4.tcp_mem), and then the kernel drops segments of the tunnel.
const sendBufferBytes = 256 << 10

func serve(conn net.Conn, received *atomic.Uint64) {
	defer conn.Close()
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetWriteBuffer(sendBufferBytes)
	}
	kind := make([]byte, 1)
	if _, err := io.ReadFull(conn, kind); err != nil {
		return
	}
	switch kind[0] {
	case kindSink:
		sink(conn, received)
	case kindSource:
		buffer := make([]byte, bufferBytes)
		for {
			if _, err := conn.Write(buffer); err != nil {
				return
			}
		}
	case kindEcho:
		buffer := make([]byte, bufferBytes)
		for {
			n, err := conn.Read(buffer)
			if err != nil {
				return
			}
			if _, err := conn.Write(buffer[:n]); err != nil {
				return
			}
		}
	case kindStall:
		select {}
	case kindCounter:
		answer := make([]byte, 8)
		for {
			if _, err := io.ReadFull(conn, kind); err != nil {
				return
			}
			binary.BigEndian.PutUint64(answer, received.Load())
			if _, err := conn.Write(answer); err != nil {
				return
			}
		}
	}
}

func sink(conn net.Conn, received *atomic.Uint64) {
	buffer := make([]byte, bufferBytes)
	for {
		n, err := conn.Read(buffer)
		received.Add(uint64(n))
		if err != nil {
			return
		}
	}
}
