package nhn

import (
	"sync"
	"time"
)

// pool keeps idle connections for a while, the last used on top.
type pool struct {
	limit int           // of one host
	keep  time.Duration // before it is closed

	mu    sync.Mutex
	idle  map[string][]*oneShotConn
	armed bool // a sweep is due
}

// take returns a connection that the gateway has not closed, or nil.
func (p *pool) take(key string) *oneShotConn {
	for {
		p.mu.Lock()
		stack := p.idle[key]
		if len(stack) == 0 {
			p.mu.Unlock()
			return nil
		}
		c := stack[len(stack)-1]
		stack[len(stack)-1] = nil
		p.idle[key] = stack[:len(stack)-1]
		p.mu.Unlock()
		if time.Since(c.since) < p.keep && quiet(c.raw) {
			return c
		}
		c.Close()
	}
}

func (p *pool) put(c *oneShotConn) {
	c.used, c.since = true, time.Now()
	_ = c.SetReadDeadline(time.Time{}) // one that has passed would keep quiet from looking
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.idle[c.key]) >= p.limit {
		c.Close()
		return
	}
	if p.idle == nil {
		p.idle = map[string][]*oneShotConn{}
	}
	p.idle[c.key] = append(p.idle[c.key], c)
	if !p.armed {
		p.armed = true
		time.AfterFunc(p.keep, p.sweep)
	}
}

// sweep closes what has been idle for too long; the oldest lie at the bottom.
func (p *pool) sweep() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for key, stack := range p.idle {
		n := 0
		for n < len(stack) && time.Since(stack[n].since) >= p.keep {
			stack[n].Close()
			n++
		}
		if stack = append(stack[:0:0], stack[n:]...); len(stack) == 0 {
			delete(p.idle, key)
		} else {
			p.idle[key] = stack
		}
	}
	if p.armed = len(p.idle) > 0; p.armed {
		time.AfterFunc(p.keep, p.sweep)
	}
}

// clear closes every idle connection.
func (p *pool) clear() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, stack := range p.idle {
		for _, c := range stack {
			c.Close()
		}
	}
	p.idle = nil
}
