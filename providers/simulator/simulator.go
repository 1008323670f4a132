package simulator

import (
	"context"
	"fmt"
	"maps"
	"math"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Simulator is the two gateways. It is safe for concurrent use.
type Simulator struct {
	seed    uint64
	open    bool
	apps    map[string]App
	token   string
	client  *http.Client
	clock   *clock
	metrics *metrics

	set       atomic.Pointer[settings]
	setMu     sync.Mutex // serialises changes of set
	fixtures  *fixtures
	keys      *window // idempotency keys
	texts     *window // the duplicate block
	buckets   buckets
	quotas    quotas
	visits    visits
	scripts   scripts
	recent    *recent
	outbox    *outbox
	templates *templates

	nextDue atomic.Int64 // of the agenda, virtual
	armed   atomic.Int64 // what Run waits for, virtual

	mu     sync.Mutex // guards what follows
	store  *store
	oracle *oracle
	agenda agenda
	names  names
	// accepting is set while a request is accepted; early are the webhooks to
	// be posted before it is answered.
	accepting bool
	early     []*hook
	count     counts
	ledger    *ledger
}

// New makes a simulator that starts empty. It panics where c.Check reports an
// error.
func New(c Config) *Simulator {
	if err := c.Check(); err != nil {
		panic(err.Error())
	}
	p, _ := profileOf(c.Profile)
	s := &Simulator{
		seed: c.Seed, open: c.Open, apps: maps.Clone(c.Apps), token: c.ControlToken, client: c.Client,
		clock: newClock(c), fixtures: newFixtures(c), templates: newTemplates(c.Templates),
		keys: newWindow(), texts: newWindow(), recent: newRecent(c.KeepRequests), outbox: newOutbox(),
		store: newStore(c.Seed, c.KeepMessages), oracle: newOracle(), names: make(names),
		ledger: newLedger(c.Ledger),
	}
	if s.client == nil {
		s.client = &http.Client{Timeout: 10 * time.Second}
	}
	s.buckets.reset()
	s.quotas.reset()
	s.visits.reset()
	s.nextDue.Store(math.MaxInt64)
	s.armed.Store(math.MaxInt64)
	s.set.Store(&settings{
		profile: p, latency: c.Latency, reportDelay: c.ReportDelay, rules: c.Rules, webhooks: maps.Clone(c.Webhooks),
	})
	s.metrics = newMetrics(s)
	return s
}

// change publishes settings with a change made to a copy.
func (s *Simulator) change(f func(*settings)) {
	s.setMu.Lock()
	defer s.setMu.Unlock()
	next := *s.set.Load()
	f(&next)
	s.set.Store(&next)
}

// SetProfile changes how the gateways behave as a whole.
func (s *Simulator) SetProfile(name string) error {
	p, ok := profileOf(name)
	if !ok {
		return fmt.Errorf("simulator: unknown profile; use one of %s", Profiles())
	}
	s.change(func(set *settings) { set.profile = p })
	return nil
}

// SetRules replaces the rules.
func (s *Simulator) SetRules(r Rules) error {
	if err := r.check(); err != nil {
		return err
	}
	s.change(func(set *settings) { set.rules = r })
	return nil
}

// SetWebhook tells a URL of an app key's results; "" stands for every app key
// without its own. A webhook without a URL keeps the app key silent.
func (s *Simulator) SetWebhook(app string, w Webhook) error {
	if err := w.check(); err != nil {
		return err
	}
	s.change(func(set *settings) {
		set.webhooks = maps.Clone(set.webhooks)
		if set.webhooks == nil {
			set.webhooks = make(map[string]Webhook)
		}
		set.webhooks[app] = w
	})
	return nil
}

// Run drives reports and posts webhooks until ctx is done, then waits for the
// posts under way and returns nil. It returns an error when the ledger cannot
// be written.
func (s *Simulator) Run(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	var posts sync.WaitGroup
	for range hookWorkers {
		posts.Go(func() { s.postHooks(ctx) })
	}
	defer posts.Wait()
	defer stop()
	t := time.NewTimer(s.untilNext())
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-s.ledger.failed:
			return fmt.Errorf("simulator: write ledger: %w", err)
		case <-t.C:
		case <-s.clock.moved:
		}
		s.settle()
		t.Reset(s.untilNext())
	}
}

// Reset forgets all traffic: messages, violations, keys, counters of tries,
// quotas, outages and scripts. Settings and fixtures stay, and no id is given
// out a second time.
func (s *Simulator) Reset() {
	s.forget()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ledger.reset()
}

func (s *Simulator) forget() {
	s.EndOutages()
	s.keys.reset()
	s.texts.reset()
	s.buckets.reset()
	s.quotas.reset()
	s.visits.reset()
	s.scripts.reset()
	s.recent.reset()
	s.outbox.reset()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.store = s.store.successor()
	s.oracle = newOracle()
	s.agenda = agenda{}
	s.count = counts{hookIDs: s.count.hookIDs}
	s.nextDue.Store(math.MaxInt64)
}

// ServeHTTP serves both gateways and the control plane.
func (s *Simulator) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	req, err := readRequest(r)
	if err != nil { // the client went away while sending
		panic(http.ErrAbortHandler)
	}
	a := s.respond(req)
	if a.wire != wireWhole {
		abort(w)
		return
	}
	a.fill(w.Header())
	w.WriteHeader(a.status)
	_, _ = w.Write(a.body) // a client that is gone needs no answer
}

// Handler returns the simulator as a handler.
func (s *Simulator) Handler() http.Handler { return s }

// respond makes the answer to one request, in the time that it takes.
func (s *Simulator) respond(req *request) answer {
	if req.path == "/healthz" {
		return answer{status: http.StatusOK, body: []byte("ok\n"), mime: "text/plain"}
	}
	if strings.HasPrefix(req.path, "/__sim/") {
		return s.control(req)
	}
	s.settle()
	c := &call{req: req, set: s.set.Load(), at: s.clock.now()}
	a := s.handle(c)
	s.post(req.ctx, c.early...)
	if d := s.latency(c); d > 0 && s.clock.sleep(req.ctx, d) != nil {
		a = answer{wire: wireReset, code: a.code}
	}
	if c.fault == faultAcceptHang || c.fault == faultHang {
		_ = s.clock.sleep(req.ctx, hangFor) // ends early when the client gives up
	}
	a = a.spoil(c.fault)
	s.metrics.request(c, a)
	s.recent.add(c, a)
	return a
}

// latency draws the time to the answer.
func (s *Simulator) latency(c *call) time.Duration {
	d := c.set.latency
	if d == 0 && c.set.profile.drawn {
		n := s.visits.next("latency", c.app, c.first)
		d = c.set.profile.latency(s.dice(drawLatency, c.app, c.first, n), c.product, c.stall)
	}
	if c.fault == faultSlow {
		d = 10 * max(d, 200*time.Millisecond)
	}
	return d
}
