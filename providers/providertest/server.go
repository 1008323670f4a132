package providertest

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
)

// Fault is what goes wrong on the wire when a [Server] answers.
type Fault int

// The faults.
const (
	None     Fault = iota
	Hang           // no answer, ever
	Reset          // the connection is reset instead of an answer
	Close          // the connection ends in good order instead of an answer
	Halve          // half of the body arrives, then the connection ends
	Endless        // the body's last byte is repeated up to 64 MiB
	DropNext       // the connection ends right after the answer, which did not announce it
)

// endless is how much a body with [Endless] announces.
const endless = 64 << 20

// Reply is a [Server]'s answer.
type Reply struct {
	Status int // 0 is 200
	Header map[string]string
	Body   []byte
	Fault  Fault
}

// Server is an HTTP/1.1 server on a bare socket. Unlike net/http's it answers
// with whatever fault it is told, and sees every request that was written, one
// after another, without any of net/http's repairs.
type Server struct {
	ln     net.Listener
	answer func(Request) Reply
	wrote  atomic.Int64
	wait   sync.WaitGroup

	mu       sync.Mutex
	requests []Request
	conns    map[net.Conn]struct{} // nil once closed
}

// NewServer serves until the test ends; answer may be called concurrently.
func NewServer(t *testing.T, answer func(Request) Reply) *Server {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("listen: %v", err)
	}
	s := &Server{ln: ln, answer: answer, conns: make(map[net.Conn]struct{})}
	s.wait.Go(s.accept)
	t.Cleanup(s.close)
	return s
}

// URL is the server's scheme and host.
func (s *Server) URL() string { return "http://" + s.ln.Addr().String() }

// Requests returns what arrived, oldest first. A request counts as soon as its
// head is whole.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.requests)
}

// Wrote returns how many bytes of the latest body were written before the
// client stopped reading.
func (s *Server) Wrote() int64 { return s.wrote.Load() }

func (s *Server) close() {
	_ = s.ln.Close() // the accept loop ends either way
	s.mu.Lock()
	for c := range s.conns {
		_ = c.Close()
	}
	s.conns = nil
	s.mu.Unlock()
	s.wait.Wait()
}

func (s *Server) accept() {
	for {
		c, err := s.ln.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		if s.conns == nil {
			_ = c.Close()
		} else {
			s.conns[c] = struct{}{}
			s.wait.Go(func() { s.serve(c) })
		}
		s.mu.Unlock()
	}
}

func (s *Server) serve(c net.Conn) {
	defer func() {
		_ = c.Close()
		s.mu.Lock()
		delete(s.conns, c)
		s.mu.Unlock()
	}()
	in := bufio.NewReader(c)
	for {
		hr, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		s.mu.Lock()
		i := len(s.requests)
		s.requests = append(s.requests, Request{hr.Method, hr.URL.Path, hr.URL.RawQuery, hr.Header, nil})
		s.mu.Unlock()
		body, err := io.ReadAll(hr.Body)
		if err != nil {
			return
		}
		s.mu.Lock()
		s.requests[i].Body = body
		req := s.requests[i]
		s.mu.Unlock()
		if !s.write(c, s.answer(req)) {
			return
		}
	}
}

// write answers and reports whether the connection goes on.
func (s *Server) write(c net.Conn, r Reply) bool {
	switch r.Fault {
	case Hang:
		_, _ = io.Copy(io.Discard, c) // until either side ends it
		return false
	case Reset:
		if tcp, ok := c.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
		}
		return false
	case Close:
		return false
	}
	if r.Status == 0 {
		r.Status = http.StatusOK
	}
	length := len(r.Body)
	if r.Fault == Endless {
		length = endless
	}
	var head bytes.Buffer
	fmt.Fprintf(&head, "HTTP/1.1 %d %s\r\nContent-Length: %s\r\n", r.Status, http.StatusText(r.Status), strconv.Itoa(length))
	for k, v := range r.Header {
		fmt.Fprintf(&head, "%s: %s\r\n", k, v)
	}
	head.WriteString("\r\n")
	if _, err := c.Write(head.Bytes()); err != nil {
		return false
	}
	return s.writeBody(c, r)
}

func (s *Server) writeBody(c net.Conn, r Reply) bool {
	s.wrote.Store(0)
	if r.Fault == Halve {
		r.Body = r.Body[:len(r.Body)/2]
	}
	n, err := c.Write(r.Body)
	s.wrote.Add(int64(n))
	if r.Fault == Endless {
		more := bytes.Repeat(r.Body[len(r.Body)-1:], 64<<10)
		for left := endless - n; left > 0 && err == nil; left -= n {
			n, err = c.Write(more[:min(left, len(more))])
			s.wrote.Add(int64(n))
		}
	}
	return err == nil && (r.Fault == None || r.Fault == Endless)
}
