package simulator

import (
	"errors"
	"net/url"
	"time"
)

// Webhook is where an app key's results are posted, and what goes wrong on
// the way. NHN documents neither retries, order nor the size of a batch.
type Webhook struct {
	URL string `json:"url"`
	// Signature is sent as it is in X-Toast-Webhook-Signature.
	Signature string `json:"signature,omitempty"`
	// Batch is how many hooks go into one post at most; 0 is 20.
	Batch int `json:"batch,omitempty"`
	// DupRate, DropRate and TypoRate are the shares, from 0 to 1, of hooks
	// that are posted twice, never, or with the field names that NHN's sample
	// misspells; ReorderRate is the share that is held back for 5 s.
	DupRate     float64 `json:"dup_rate,omitempty"`
	DropRate    float64 `json:"drop_rate,omitempty"`
	TypoRate    float64 `json:"typo_rate,omitempty"`
	ReorderRate float64 `json:"reorder_rate,omitempty"`
	// Delay is added between a result and its hook.
	Delay Duration `json:"delay,omitempty"`
	// Retries is how often a post that got no 2xx is repeated, Backoff the
	// wait before the first repetition, doubled each time; 0 are 3 and 1 s,
	// negative Retries are none.
	Retries int      `json:"retries,omitempty"`
	Backoff Duration `json:"backoff,omitempty"`
	// BeforeResponse reports the first result at once and posts it before the
	// send is answered.
	BeforeResponse bool `json:"before_response,omitempty"`
	// Conflict posts FAILED before each COMPLETED.
	Conflict bool `json:"conflict,omitempty"`
	// BadSignature sends a wrong signature.
	BadSignature bool `json:"bad_signature,omitempty"`
}

func (w *Webhook) check() error {
	if w.URL != "" {
		if u, err := url.Parse(w.URL); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			return errors.New("simulator: a webhook's url is an absolute http or https URL")
		}
	}
	for _, r := range []float64{w.DupRate, w.DropRate, w.TypoRate, w.ReorderRate} {
		if r < 0 || r > 1 {
			return errors.New("simulator: a webhook's rates are from 0 to 1")
		}
	}
	if w.Batch < 0 || w.Delay < 0 || w.Backoff < 0 {
		return errors.New("simulator: a webhook's batch, delay and backoff cannot be negative")
	}
	return nil
}

// heldBack is how long a hook waits that is to come after later ones.
const heldBack = 5 * time.Second

// hook is one result on its way to a webhook.
type hook struct {
	app     string
	product Product
	to      Webhook
	fields  map[string]any
	event   string
	typos   bool
	forged  bool
	ghost   bool // shares its post with a hook of an unknown request
}

// hook makes the webhook of a result. mu is held.
func (s *Simulator) hook(n uint32, m *message, a anomaly, due time.Time) {
	to, ok := s.set.Load().webhook(m.app)
	if !ok || a == hookDropped {
		return
	}
	r := s.dice(drawHook, m.app, m.recipient, n)
	hit := func(rate float64) bool { return r.Float64() < rate }
	dup, drop, typo, reorder := hit(to.DupRate), hit(to.DropRate), hit(to.TypoRate), hit(to.ReorderRate)
	if drop {
		s.metrics.hooks.WithLabelValues("dropped").Inc()
		return
	}
	h := &hook{
		app: m.app, product: m.kind.product(), to: to, event: "MESSAGE_RESULT_UPDATE",
		typos: typo || a == hookTypos, forged: to.BadSignature || a == hookForged, ghost: a == hookGhost,
	}
	h.fields = s.hookFields(m, m.code, h.typos)
	hooks := []*hook{h}
	if to.Conflict && m.state == delivered && a != hookConflict {
		liar := *h
		liar.fields = s.hookFields(m, conflicting[m.kind.product()], h.typos)
		hooks = []*hook{&liar, h}
	}
	switch {
	case a == hookTripled:
		hooks = append(hooks, h, h)
	case dup:
		hooks = append(hooks, h)
	}
	if s.accepting && (a == hookEarly || to.BeforeResponse) {
		s.early = append(s.early, hooks...)
		return
	}
	wait := time.Duration(to.Delay)
	if a == hookLate || reorder {
		wait += heldBack
	}
	if wait == 0 {
		s.outbox.put(hooks...)
		return
	}
	s.schedule(due.Add(wait).UnixNano(), func(int64) { s.outbox.put(hooks...) })
}

// hookFields is one element of hooks, as the product's guide has it.
func (s *Simulator) hookFields(m *message, code string, typos bool) map[string]any {
	id := s.store.requestID(m.created, m.first)
	f := map[string]any{
		"hookId": s.hookID(m), "requestId": id, "recipientSeq": m.seq, "recipientNo": m.recipient,
		"resultCode": code, "senderGroupingKey": m.senderGroup,
	}
	self, groupName, linkName := "", "recipientGroupingKey", "_links"
	if typos {
		groupName, linkName = "recipientGropuingKey", "_link"
	}
	if m.kind.product() == Alimtalk {
		f["kakaoMessageType"] = senderTypes[m.kind]
		f["requestDate"], f["createDate"], f["receiveDate"] = at(m.requested, formSecond), at(m.created, formSecond), at(m.updated, formSecond)
		f["isAddedChannel"] = nil
		self = "https://kakaotalk-bizmessage.api.nhncloudservice.com/alimtalk/v2.3/appkeys/" + m.app + "/messages/" + id + "/" + decimal(m.seq)
	} else {
		f["senderType"] = senderTypes[m.kind]
		if m.ad && senderAdTypes[m.kind] != "" {
			f["senderType"] = senderAdTypes[m.kind]
		}
		f["requestDate"], f["receiveDate"] = at(m.requested, formHook), at(m.updated, formHook)
		f["sendNo"], f["messageCount"] = m.sender, 1
		f["messageStatus"] = hookStatus(verdict(SMS, code), m)
		self = "https://sms.api.nhncloudservice.com/sms/v3.0/appKeys/" + m.app + "/sender/" + smsPath(m.kind) + "/" + id + "?recipientSeq=" + decimal(m.seq)
	}
	f[groupName] = m.key
	f[linkName] = map[string]any{"self": map[string]any{"href": self}}
	return f
}

// hookStatus is SMS's messageStatus of a result.
func hookStatus(st state, m *message) string {
	switch {
	case m.state == failedAd:
		return "FAILED_AD"
	case st == delivered:
		return "COMPLETED"
	case st == duplicated:
		return "DUPLICATED"
	}
	return "FAILED"
}

// hookID names one event; the counter tells the two results of one message
// apart.
func (s *Simulator) hookID(m *message) string {
	s.count.hookIDs++
	return s.store.requestID(m.created, m.first)[:14] + token(mix(s.seed+s.count.hookIDs))
}

// token writes 11 characters.
func token(x uint64) string {
	var b [11]byte
	for i := range b {
		b[i] = alphabet[x%62]
		x /= 62
	}
	return string(b[:])
}
