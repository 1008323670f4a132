package simulator

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"
)

// Open makes a simulator that keeps its ledger in a file and goes on where
// the file ends: accepted messages are found again, their idempotency keys
// are still taken, their reports still come, and virtual time does not step
// back. A line that a crash cut short is dropped; it was never answered. The
// file serves one simulator at a time.
//
// Not kept are settings, fixtures, quotas, throttles and refused requests.
func Open(c Config, path string) (*Simulator, error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	s := New(c)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("simulator: open ledger: %w", err)
	}
	end, err := s.replay(f)
	if err == nil {
		err = f.Truncate(end)
	}
	if err == nil {
		_, err = f.Seek(end, io.SeekStart)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("simulator: read ledger: %w", err), f.Close())
	}
	s.ledger.file, s.ledger.sync = f, c.SyncLedger
	s.ledger.write(line{Event: "open", Restore: restore{Salt: s.store.salt, Virtual: s.clock.now().UnixNano()}})
	return s, nil
}

// Close closes the ledger's file, if there is one. No request may be served
// afterwards.
func (s *Simulator) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ledger.file == nil {
		return nil
	}
	if err := s.ledger.file.Close(); err != nil {
		return fmt.Errorf("simulator: close ledger: %w", err)
	}
	return nil
}

// replay reads a ledger and returns where its last whole line ends.
func (s *Simulator) replay(f io.Reader) (end int64, err error) {
	r := bufio.NewReaderSize(f, 1<<20)
	last := int64(0)
	pending := make(map[uint32]restore)
	for n := 1; ; n++ {
		b, err := r.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			break // what is left has no end of line: it was being written
		}
		if err != nil {
			return 0, err
		}
		var v line
		if err := json.Unmarshal(b, &v); err != nil {
			return 0, fmt.Errorf("line %d is not a ledger line; move the file away to start anew", n)
		}
		end += int64(len(b))
		last = max(last, v.Restore.Virtual)
		if err := s.replayLine(&v, pending); err != nil {
			return 0, fmt.Errorf("line %d: %w", n, err)
		}
	}
	if behind := time.Unix(0, last).Sub(s.clock.now()); last > 0 && behind > 0 {
		s.clock.change(s.clock.state.Load().scale, behind)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	// The file has far more bytes than earlier lives had hooks, so that none of
	// their hookIds comes again.
	s.count.hookIDs = uint64(end)
	for n := range s.store.next {
		if v, ok := pending[n]; ok {
			s.resume(n, &v)
		}
		if m := s.store.get(n); m != nil && m.resend != nil && m.resend.status == 2 {
			s.followUp(n, m, s.clock.now())
		}
	}
	return end, nil
}

func (s *Simulator) replayLine(v *line, pending map[uint32]restore) error {
	switch v.Event {
	case "open":
		s.store.salt = v.Restore.Salt
	case "reset":
		s.forget()
		clear(pending)
	case "accepted":
		return s.replayAccepted(v, pending)
	case "result":
		m := s.store.get(v.Restore.N)
		if m == nil {
			return nil // dropped since, by KeepMessages
		}
		to := state(slices.Index(stateNames[:], v.Status))
		was := m.state
		m.code = v.Code
		s.store.settle(v.Restore.N, m, to, v.ResultAt.UnixNano())
		s.oracle.changed(m, was, to)
		s.resent(m, m.updated)
		if p, ok := pending[v.Restore.N]; ok && len(p.Due) > 0 {
			p.Due = p.Due[1:]
			pending[v.Restore.N] = p
			if len(p.Due) == 0 {
				delete(pending, v.Restore.N)
			}
		}
		if to == cancelled {
			delete(pending, v.Restore.N)
		}
	default:
		return errors.New("unknown event")
	}
	return nil
}

func (s *Simulator) replayAccepted(v *line, pending map[uint32]restore) error {
	k := slices.Index(kindNames[:], v.Product)
	st := slices.Index(stateNames[:], v.Status)
	if k < 0 || st < 0 || v.Restore.N < s.store.next {
		return errors.New("not what a simulator writes")
	}
	m := message{
		created: v.At.UnixNano(), requested: v.Restore.Requested, first: v.Restore.First, seq: uint16(v.Seq),
		bytes: uint16(v.Bytes), kind: kind(k), state: state(st), ad: v.Ad, truncated: v.Truncated, viaResend: v.ViaResend,
		app: s.names.get(v.AppKey), sender: s.names.get(v.Sender), template: s.names.get(v.Template),
		senderGroup: s.names.get(v.Group), user: s.names.get(v.Restore.User), recipient: v.RecipientNo,
		key: v.GroupingKey, title: v.Title, text: v.Text, source: v.Restore.Source,
	}
	for s.store.next < v.Restore.N { // numbers of requests that were refused as a whole
		s.store.add(message{created: s.store.tick(m.created), first: s.store.next, state: void})
	}
	s.store.tick(m.created)
	if m.key != "" {
		m.root = s.oracle.rootHash(m.key)
	}
	if r := v.Restore.Resend; r != nil {
		m.resend = &resending{want: true, typ: r.Type, title: r.Title, text: r.Text, sendNo: r.SendNo, status: 2}
	}
	if m.source > 0 {
		if src := s.store.get(m.source - 1); src != nil && src.resend != nil {
			src.resend.status, src.resend.requestID = 3, v.RequestID
		}
	}
	s.store.add(m)
	for _, b := range s.oracle.accepted(&m) {
		s.oracle.violate(s.violation(m.created, b, m.app, m.key, v.RequestID))
	}
	if sc, ok := magic(m.kind.product(), m.recipient); ok || probabilistic(m.recipient) {
		s.visits.next("plan", string(m.kind.product()), m.app, m.recipient)
		if sc.mode == modeFault || sc.mode == modeThrottle {
			s.visits.next("magic", string(m.kind.product()), m.app, m.recipient)
		}
	}
	if v.Restore.Key != "" {
		scoped := m.app + "\x00" + v.Restore.Key
		if v.Restore.KeyGlobal {
			scoped = v.Restore.Key
		}
		s.keys.put(scoped, v.Restore.Virtual, v.Restore.KeyUntil)
	}
	pending[v.Restore.N] = v.Restore
	return nil
}

// resume schedules what a replayed message still waits for.
func (s *Simulator) resume(n uint32, v *restore) {
	p := plan{hook: v.Hook}
	for _, d := range v.Due {
		if p.n < len(p.reports) {
			p.report(max(d.After, 1), d.Code) // 1 ns: never within this call
		}
	}
	s.start(n, p, time.Unix(0, v.Base))
}
