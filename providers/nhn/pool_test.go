package nhn

import (
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// idleConn is a connection that remembers whether it was closed.
type idleConn struct {
	net.Conn
	closed atomic.Bool
}

func (c *idleConn) Close() error {
	c.closed.Store(true)
	return nil
}

func (c *idleConn) SetReadDeadline(time.Time) error { return nil }

func idle(key string) (*oneShotConn, *idleConn) {
	c := new(idleConn)
	return &oneShotConn{Conn: c, raw: c, key: key}, c
}

func TestThePoolIsBoundedForEachHost(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &pool{limit: 3, keep: time.Minute}
		for _, host := range []string{"a", "b"} {
			var raws []*idleConn
			for range 5 {
				c, raw := idle(host)
				raws = append(raws, raw)
				p.put(c)
			}
			for i, raw := range raws {
				if got, want := raw.closed.Load(), i >= 3; got != want {
					t.Errorf("connection %d of host %s: closed %v, want %v", i, host, got, want)
				}
			}
		}
		p.clear()
		if p.take("a") != nil || p.take("b") != nil {
			t.Error("a cleared pool has connections")
		}
	})
}

func TestThePoolGivesTheLastUsedAndClosesTheOld(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const keep = 20 * time.Second
		p := &pool{limit: 10, keep: keep}
		old, oldRaw := idle("a")
		young, youngRaw := idle("a")
		p.put(old)
		time.Sleep(keep / 2)
		p.put(young)
		if p.take("b") != nil {
			t.Error("another host's connection")
		}
		if got := p.take("a"); got != young || !got.used {
			t.Errorf("took %v, want the one used last", got)
		}
		p.put(young)
		time.Sleep(keep/2 - 1)
		synctest.Wait()
		if oldRaw.closed.Load() {
			t.Error("closed before its time")
		}
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		if !oldRaw.closed.Load() || youngRaw.closed.Load() {
			t.Errorf("after its time the old one is closed: %v; the young one: %v", oldRaw.closed.Load(), youngRaw.closed.Load())
		}
		// The sweep looks again only a whole period later; taking looks too.
		time.Sleep(keep / 2)
		if got := p.take("a"); got != nil || !youngRaw.closed.Load() {
			t.Errorf("took %v, which is too old", got)
		}
		time.Sleep(2 * keep)
		synctest.Wait()
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.armed || len(p.idle) != 0 {
			t.Errorf("an empty pool goes on sweeping %v", p.idle)
		}
	})
}

func TestThePoolSweepsAgainAfterItWasCleared(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const keep = 20 * time.Second
		p := &pool{limit: 10, keep: keep}
		c, raw := idle("a")
		p.put(c)
		p.clear()
		if !raw.closed.Load() {
			t.Error("clear leaves a connection open")
		}
		time.Sleep(keep / 2)
		c, raw = idle("a")
		p.put(c)
		time.Sleep(3 * keep)
		synctest.Wait()
		if !raw.closed.Load() {
			t.Error("a connection that came after it was cleared is never closed")
		}
	})
}
