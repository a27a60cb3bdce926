package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"syscall"
	"time"
)

// blast writes on all streams; the speed is what the target has received.
func blast(ctx context.Context, opts *options) (result, error) {
	count, err := dialCounter(opts.counter)
	if err != nil {
		return nil, err
	}
	buffer := make([]byte, opts.chunk)
	write := func(conn net.Conn) error {
		for {
			if _, err := conn.Write(buffer); err != nil {
				return err
			}
		}
	}
	return throughput(ctx, opts, lane{kindSink, write}, lane{kindStall, write}, count)
}

// drain reads on all streams; the speed is what has been read here.
func drain(ctx context.Context, opts *options) (result, error) {
	var received atomic.Uint64
	read := func(conn net.Conn) error {
		buffer := make([]byte, bufferBytes)
		for {
			n, err := conn.Read(buffer)
			received.Add(uint64(n))
			if err != nil {
				return err
			}
		}
	}
	// A stalled reader is one that does nothing. The library ends its tunnel after 10 s: measure for less.
	stall := func(net.Conn) error { return nil }
	count := func() (uint64, error) { return received.Load(), nil }
	return throughput(ctx, opts, lane{kindSource, read}, lane{kindSource, stall}, count)
}

// lane is a kind of stream and what this end does with it.
type lane struct {
	kind byte
	move func(net.Conn) error
}

func throughput(
	ctx context.Context, opts *options, moving, stalled lane, count func() (uint64, error),
) (result, error) {
	if opts.stalled >= opts.streams {
		return nil, errors.New("--stalled must be less than --streams")
	}
	// All are open before the first moves bytes, because a dial under full load takes long.
	conns := make([]net.Conn, opts.streams)
	for i := range conns {
		conn, err := opts.dial(ctx)
		if err != nil {
			return nil, fmt.Errorf("stream %d: dial %s: %w", i, opts.to, err)
		}
		conns[i] = conn
	}
	broken := make(chan error, opts.streams)
	for i, conn := range conns {
		lane := moving
		if i < opts.stalled {
			lane = stalled
		}
		if err := opts.announce(conn, lane.kind); err != nil {
			return nil, fmt.Errorf("stream %d: %w", i, err)
		}
		go func() {
			err := lane.move(conn)
			if err != nil && i >= opts.stalled {
				broken <- fmt.Errorf("stream %d ended: %w", i, err)
			}
		}()
	}

	time.Sleep(seconds(opts.warmup))
	emit(result{"event": "steady"})
	from, err := count()
	if err != nil {
		return nil, err
	}
	startedAt, cpuBefore := time.Now(), cpuSeconds()
	select {
	case err := <-broken:
		return nil, err
	case <-time.After(seconds(opts.seconds)):
	}
	to, err := count()
	if err != nil {
		return nil, err
	}
	took := time.Since(startedAt).Seconds()
	return result{
		"streams":     opts.streams,
		"stalled":     opts.stalled,
		"chunkBytes":  opts.chunk,
		"seconds":     took,
		"bytes":       to - from,
		"cpuSeconds":  cpuSeconds() - cpuBefore,
		"mbPerSecond": float64(to-from) / took / 1e6,
	}, nil
}

// cpuSeconds returns the user and system time of this process.
func cpuSeconds() float64 {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano()).Seconds()
}

func dialCounter(address string) (func() (uint64, error), error) {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("the target's counter: %w", err)
	}
	if _, err := conn.Write([]byte{kindCounter}); err != nil {
		return nil, err
	}
	answer := make([]byte, 8)
	return func() (uint64, error) {
		if _, err := conn.Write([]byte{'?'}); err != nil {
			return 0, err
		}
		if _, err := io.ReadFull(conn, answer); err != nil {
			return 0, err
		}
		return binary.BigEndian.Uint64(answer), nil
	}, nil
}
