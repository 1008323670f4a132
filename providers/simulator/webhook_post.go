package simulator

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"
)

const (
	hookWorkers = 4
	maxOutbox   = 100_000
)

// outbox holds hooks that are to be posted.
type outbox struct {
	mu    sync.Mutex
	hooks []*hook
	ready chan struct{}
}

func newOutbox() *outbox { return &outbox{ready: make(chan struct{}, hookWorkers)} }

func (o *outbox) put(hs ...*hook) {
	o.mu.Lock()
	if len(o.hooks) < maxOutbox { // beyond it nobody is listening
		o.hooks = append(o.hooks, hs...)
	}
	o.mu.Unlock()
	select {
	case o.ready <- struct{}{}:
	default:
	}
}

// take removes the next hooks that share a post: of one app key, up to its
// batch.
func (o *outbox) take() (hs []*hook, more bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.hooks) == 0 {
		return nil, false
	}
	lead := o.hooks[0]
	limit := lead.to.Batch
	if limit == 0 {
		limit = 20
	}
	o.hooks = slices.DeleteFunc(o.hooks, func(h *hook) bool {
		if len(hs) == limit || h.app != lead.app || h.product != lead.product || h.to != lead.to || h.event != lead.event || h.forged != lead.forged {
			return false
		}
		hs = append(hs, h)
		return true
	})
	return hs, len(o.hooks) > 0
}

func (o *outbox) reset() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.hooks = nil
}

// postHooks posts what the outbox holds until ctx is done.
func (s *Simulator) postHooks(ctx context.Context) {
	for {
		hs, more := s.outbox.take()
		if more {
			s.outbox.put() // wake another worker
		}
		if len(hs) > 0 {
			s.post(ctx, hs...)
			continue
		}
		select {
		case <-ctx.Done():
			return
		case <-s.outbox.ready:
		}
	}
}

// post sends hooks that share a post, repeating as their webhook says. A post
// under way is finished when ctx ends; no further one is begun.
func (s *Simulator) post(ctx context.Context, hs ...*hook) {
	if len(hs) == 0 || ctx.Err() != nil {
		return
	}
	lead := hs[0]
	body, err := json.Marshal(s.envelope(hs))
	if err != nil { // maps of strings and numbers always encode
		panic("simulator: encode webhook: " + err.Error())
	}
	tries, wait := lead.to.Retries, time.Duration(lead.to.Backoff)
	if tries == 0 {
		tries = 3
	}
	if wait == 0 {
		wait = time.Second
	}
	for ; ; tries-- {
		ok := s.postOnce(context.WithoutCancel(ctx), lead, body)
		s.metrics.hook(ok, len(hs))
		if ok || tries <= 0 || s.clock.sleep(ctx, wait) != nil {
			return
		}
		wait *= 2
	}
}

func (s *Simulator) postOnce(ctx context.Context, h *hook, body []byte) bool {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, h.to.URL, bytes.NewReader(body))
	if err != nil {
		return false
	}
	r.Header.Set("Content-Type", jsonType)
	signature := h.to.Signature
	if h.forged {
		signature = "forged"
	}
	if signature != "" {
		r.Header.Set("X-Toast-Webhook-Signature", signature)
	}
	resp, err := s.client.Do(r)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<16)) // so that the connection is used again
	return resp.StatusCode/100 == 2
}

// envelope is the body of a post.
func (s *Simulator) envelope(hs []*hook) map[string]any {
	lead := hs[0]
	product := "SMS"
	if lead.product == Alimtalk {
		product = "KakaoTalk Bizmessage"
	}
	s.mu.Lock()
	s.count.hookIDs++
	id := at(s.clock.stampNow(), formID) + token(mix(s.seed^s.count.hookIDs<<32))
	s.mu.Unlock()
	var hooks []map[string]any
	for _, h := range hs {
		hooks = append(hooks, h.fields)
		if h.ghost {
			ghost := maps.Clone(h.fields)
			ghost["hookId"], ghost["requestId"], ghost["recipientSeq"] = id[:14]+"ghostghost0", id[:14]+"unknown0000", 1
			delete(ghost, "recipientGroupingKey")
			delete(ghost, "recipientGropuingKey") // as NHN's sample misspells it
			hooks = append(hooks, ghost)
		}
	}
	return map[string]any{
		"hooksId": id, "webhookConfigId": "cfg-" + lead.app, "productName": product,
		"appKey": lead.app, "event": lead.event, "hooks": hooks,
	}
}
