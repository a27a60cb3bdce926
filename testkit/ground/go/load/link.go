package main

import (
	"flag"
	"math/rand/v2"
	"os"
	"syscall"
	"time"
	"unsafe"
)

const (
	tunDevice    = "/dev/net/tun"
	tunSetIff    = 0x400454ca
	tunNoInfo    = 0x1001 // IFF_TUN | IFF_NO_PI
	ifNameBytes  = 16
	packetBytes  = 2048
	queueSeconds = 0.05
)

// serveLink joins two network interfaces, which it makes, by a link with a rate, a delay and losses. The caller gives
// them addresses, each in a network namespace of its own. Ends when it is killed.
func serveLink(args []string) error {
	flags := flag.NewFlagSet("link", flag.ExitOnError)
	nameA := flags.String("a", "", "name of one interface")
	nameB := flags.String("b", "", "name of the other interface")
	rate := flags.Float64("mbit", 1000, "rate of each direction, in Mbit/s")
	delay := flags.Duration("delay", 0, "time that each direction takes")
	loss := flags.Float64("loss", 0, "share of the packets that get lost in each direction")
	_ = flags.Parse(args)
	a, err := openTun(*nameA)
	if err != nil {
		return err
	}
	b, err := openTun(*nameB)
	if err != nil {
		return err
	}
	emit(result{"event": "linked"})
	shape := shape{bytesPerSecond: *rate * 1e6 / 8, delay: *delay, loss: *loss}
	failed := make(chan error)
	go func() { failed <- shape.carry(b, a) }()
	go func() { failed <- shape.carry(a, b) }()
	return <-failed
}

func openTun(name string) (*os.File, error) {
	device, err := syscall.Open(tunDevice, syscall.O_RDWR|syscall.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	var request struct {
		name  [ifNameBytes]byte
		flags uint16
		_     [22]byte
	}
	copy(request.name[:ifNameBytes-1], name)
	request.flags = tunNoInfo
	_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, uintptr(device), tunSetIff, uintptr(unsafe.Pointer(&request)))
	if errno != 0 {
		return nil, errno
	}
	return os.NewFile(uintptr(device), name), nil
}

type shape struct {
	bytesPerSecond float64
	delay          time.Duration
	loss           float64
}

// carry moves the packets of one direction. A packet that finds 50 ms of others before it is dropped.
func (s shape) carry(to, from *os.File) error {
	flying := make(chan piece, 1<<16)
	spare := make(chan []byte, 1<<16)
	go func() {
		for next := range flying {
			if wait := time.Until(next.due); wait > 0 {
				time.Sleep(wait)
			}
			// An interface that is down refuses packets; the link loses them.
			_, _ = to.Write(next.bytes)
			select {
			case spare <- next.bytes[:packetBytes]:
			default:
			}
		}
	}()
	var free time.Time
	for {
		var buffer []byte
		select {
		case buffer = <-spare:
		default:
			buffer = make([]byte, packetBytes)
		}
		n, err := from.Read(buffer)
		if err != nil {
			return err
		}
		now := time.Now()
		if free.Before(now) {
			free = now
		}
		if rand.Float64() < s.loss || free.Sub(now).Seconds() > queueSeconds {
			continue
		}
		free = free.Add(time.Duration(float64(n) / s.bytesPerSecond * float64(time.Second)))
		select {
		case flying <- piece{buffer[:n], free.Add(s.delay)}:
		default:
		}
	}
}
