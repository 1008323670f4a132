package bench

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
)

// Hook is a webhook that is called.
type Hook struct {
	ID     uuid.UUID
	Secret []byte
}

// Load is one stretch of signed webhook calls.
type Load struct {
	Target string // address of the server, such as http://127.0.0.1:8080
	Hooks  []Hook // called in turn
	// Prefix makes the events' ids new; it is at most 40 letters, digits or
	// dashes.
	Prefix string
	Count  int
	// Rate is calls per second, begun at their time whether or not earlier
	// ones are answered; 0 is flat out by Callers callers.
	Rate    float64
	Callers int
	// Body makes the payload of call n.
	Body func(n int) []byte
}

// Call is one webhook call.
type Call struct {
	// Begun is when the request was about to be written, Answered when its
	// answer was there.
	Begun, Answered time.Time
	// Status is the HTTP status, 0 where no answer came.
	Status    int
	Trigger   uuid.UUID
	Duplicate bool
}

// Kept reports whether the webhook took the event.
func (c *Call) Kept() bool { return c.Status == 202 && c.Trigger != uuid.Nil }

// Run makes the calls and returns them in order; calls that were not begun
// when ctx ended are zero.
func (l *Load) Run(ctx context.Context) ([]Call, error) {
	c, err := newCaller(l.Target)
	if err != nil {
		return nil, err
	}
	defer c.close()
	defer context.AfterFunc(ctx, c.close)()
	calls := make([]Call, l.Count)
	if l.Rate > 0 {
		l.paced(ctx, c, calls)
		return calls, ctx.Err()
	}
	var next atomic.Int64
	var callers sync.WaitGroup
	for range max(1, l.Callers) {
		callers.Go(func() {
			var buf []byte
			for ctx.Err() == nil {
				n := int(next.Add(1)) - 1
				if n >= l.Count {
					return
				}
				buf = l.call(ctx, c, n, &calls[n], buf)
			}
		})
	}
	callers.Wait()
	return calls, ctx.Err()
}

// paced begins each call at its time.
func (l *Load) paced(ctx context.Context, c *caller, calls []Call) {
	var under sync.WaitGroup
	defer under.Wait()
	start := time.Now()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for n := range calls {
		if d := time.Until(start.Add(time.Duration(float64(n) / l.Rate * float64(time.Second)))); d > 0 {
			timer.Reset(d)
			select {
			case <-ctx.Done():
				return
			case <-timer.C:
			}
		}
		under.Go(func() { l.call(ctx, c, n, &calls[n], nil) })
	}
}

// call makes call n and returns the buffer for the next one.
func (l *Load) call(ctx context.Context, c *caller, n int, into *Call, buf []byte) []byte {
	h := l.Hooks[n%len(l.Hooks)]
	body := l.Body(n)
	buf = request(buf[:0], c.host, h, fmt.Sprintf("%s-%d", l.Prefix, n), body, time.Now())
	into.Begun = time.Now()
	status, answer, err := c.do(ctx, buf)
	into.Answered = time.Now()
	if err != nil {
		return buf
	}
	into.Status = status
	var a struct {
		TriggerID uuid.UUID `json:"trigger_id"`
		Duplicate bool      `json:"duplicate"`
	}
	if status == 202 && json.Unmarshal(answer, &a) == nil {
		into.Trigger, into.Duplicate = a.TriggerID, a.Duplicate
	}
	return buf
}

// request appends a signed request (Standard Webhooks v1) to b.
func request(b []byte, host string, h Hook, id string, body []byte, now time.Time) []byte {
	stamp := strconv.FormatInt(now.Unix(), 10)
	mac := hmac.New(sha256.New, h.Secret)
	fmt.Fprintf(mac, "%s.%s.", id, stamp)
	mac.Write(body)
	b = fmt.Appendf(b, "POST /api/webhooks/%s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n"+
		"Webhook-Id: %s\r\nWebhook-Timestamp: %s\r\nWebhook-Signature: v1,%s\r\n\r\n",
		h.ID, host, len(body), id, stamp, base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	return append(b, body...)
}
