package simulator

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Script answers the next matching requests by hand, after their app key and
// secret were checked.
type Script struct {
	// Path is a part of the URL's path and RecipientNo a recipient's number
	// as the request writes it; an empty one matches any. Method likewise.
	Method      string `json:"method,omitempty"`
	Path        string `json:"path,omitempty"`
	RecipientNo string `json:"recipient_no,omitempty"`
	// Times is how many requests are answered; 0 is 1.
	Times int `json:"times,omitempty"`
	// Process has the gateway process the request; its own answer is given
	// unless Status, Body or Reset says another. Otherwise the gateway never
	// hears of it.
	Process bool `json:"process,omitempty"`
	// Hold keeps the request on its way to the gateway for that long, in
	// virtual time, and then has it processed, also when the client has given
	// up by then.
	Hold Duration `json:"hold,omitempty"`
	// Delay is waited before the answer, in virtual time.
	Delay Duration `json:"delay,omitempty"`
	// Reset ends the connection instead of answering.
	Reset bool `json:"reset,omitempty"`
	// Status (0 is 200), Headers and Body are the answer.
	Status  int               `json:"status,omitempty"`
	Headers map[string]string `json:"headers,omitempty"`
	Body    string            `json:"body,omitempty"`
}

func (x *Script) check() error {
	switch {
	case x.Times < 0 || x.Delay < 0 || x.Hold < 0:
		return errors.New("simulator: a script's times, delay and hold cannot be negative")
	case x.Status != 0 && (x.Status < 200 || x.Status > 599):
		return errors.New("simulator: a script's status is an HTTP status from 200 to 599")
	}
	return nil
}

func (x *Script) matches(r *request) bool {
	return (x.Method == "" || x.Method == r.method) && strings.Contains(r.path, x.Path) &&
		(x.RecipientNo == "" || strings.Contains(string(r.body), `"`+x.RecipientNo+`"`))
}

func (x *Script) answer() answer {
	if x.Reset {
		return answer{wire: wireReset}
	}
	a := answer{status: x.Status, body: []byte(x.Body), extra: x.Headers}
	if a.status == 0 {
		a.status = http.StatusOK
	}
	return a
}

// scripts are the scripts that still have requests to answer.
type scripts struct {
	mu   sync.Mutex
	list []Script
}

func (l *scripts) add(x Script) {
	x.Times = max(x.Times, 1)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list = append(l.list, x)
}

// take returns the first script that matches and counts it down.
func (l *scripts) take(r *request) (Script, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range l.list {
		x := &l.list[i]
		if !x.matches(r) {
			continue
		}
		found := *x
		if x.Times--; x.Times == 0 {
			l.list = append(l.list[:i], l.list[i+1:]...)
		}
		return found, true
	}
	return Script{}, false
}

func (l *scripts) reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list = nil
}

// AddScript answers the next matching requests by hand.
func (s *Simulator) AddScript(x Script) error {
	if err := x.check(); err != nil {
		return err
	}
	s.scripts.add(x)
	return nil
}

// scripted plays the first script that matches the call.
func (s *Simulator) scripted(c *call) (answer, bool) {
	x, ok := s.scripts.take(c.req)
	if !ok {
		return answer{}, false
	}
	a, whole := x.answer(), x.Status != 0 || x.Body != "" || x.Reset
	if x.Process || x.Hold > 0 {
		own, err := s.held(c, time.Duration(x.Hold))
		if err != nil {
			return answer{wire: wireReset}, true
		}
		if !whole {
			a = own
		}
	}
	if err := s.clock.sleep(c.req.ctx, time.Duration(x.Delay)); err != nil {
		return answer{wire: wireReset}, true
	}
	return a, true
}

// held has a request processed after d. It ends with the client's patience;
// the request arrives all the same.
func (s *Simulator) held(c *call, d time.Duration) (answer, error) {
	if d == 0 {
		return c.route.handle(s, c), nil
	}
	late := *c
	req := *c.req
	req.ctx = context.WithoutCancel(c.req.ctx)
	late.req = &req
	done := make(chan answer, 1)
	go func() {
		_ = s.clock.sleep(req.ctx, d) // its context never ends
		late.at, late.set = s.clock.now(), s.set.Load()
		done <- late.route.handle(s, &late)
	}()
	select {
	case a := <-done:
		c.fault, c.early = late.fault, late.early
		return a, nil
	case <-c.req.ctx.Done():
		return answer{}, c.req.ctx.Err()
	}
}
