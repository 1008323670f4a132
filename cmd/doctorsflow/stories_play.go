package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/doctorsflow/doctorsflow/internal/clinic"
	"github.com/doctorsflow/doctorsflow/internal/phone"
	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
	"github.com/doctorsflow/doctorsflow/providers/simulator"
)

// talesClinic is a clinic, with gateway accounts of its own.
const talesClinic = `
tenant: {slug: %[1]s, name: %[1]q, phone: "02-555-0100"}
accounts:
  - {channel: kakao, vendor: simulator, sender: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa, rate_per_second: 5000}
  - {channel: sms, vendor: simulator, sender: "15880000", rate_per_second: 5000}
templates:
  - {name: care, kakao_template_code: SIM_OK, kakao_text: "#{환자명}님, 오늘 수술 고생하셨습니다.", sms_text: "[#{병원명}] #{환자명}님, 오늘 수술 고생하셨습니다."}
workflows:
  - name: aftercare
    ignore_quiet_hours: true
    steps: [{seconds: 0, type: care, template: care}]
webhooks:
  - {name: visits, workflow: aftercare}
`

// stage plays every tale against a running process, whose ledger and gateway
// simulator have no other clients. Time stands still while anything moves, and
// otherwise leaps to the next thing that is due.
type stage struct {
	db    *store.DB
	where running
	post  func(ctx context.Context, hook store.AppliedWebhook, id string, body []byte) (accepted, error)
	// tick is told after each leap how much time has passed.
	tick func(passed time.Duration, open int)

	begin  time.Time
	plays  []*played
	casts  map[tenant.ID]map[string]*played // by the patient's name, which is the number
	untold map[string]bool                  // results that the ledger did not take up in time
}

// patience bounds the wait, on the wall clock, for everything to stand still.
const patience = 60 * time.Second

// play plays all chapters to their ends.
func (s *stage) play(ctx context.Context, chapters []chapter) error {
	s.untold, s.casts = map[string]bool{}, map[tenant.ID]map[string]*played{}
	clock, err := s.clock(ctx, map[string]any{"mode": "manual"})
	if err != nil {
		return err
	}
	s.begin = clock.Now
	for _, c := range chapters {
		if err := s.enter(ctx, c); err != nil {
			return err
		}
	}
	for {
		r, err := s.still(ctx)
		if err != nil {
			return err
		}
		open := s.open()
		s.tick(r.Now.Sub(s.begin), open)
		if open == 0 {
			return nil
		}
		if err := s.leap(ctx, r); err != nil {
			return err
		}
	}
}

// enter makes a chapter's clinics and has a booking site report each visit.
func (s *stage) enter(ctx context.Context, c chapter) error {
	cast := map[string]*played{}
	for _, t := range c.tales {
		cast[t.number] = &played{tale: t, chapter: c, open: true}
		s.plays = append(s.plays, cast[t.number])
	}
	for slug, tales := range c.clinics() {
		f, err := clinic.Parse(fmt.Appendf(nil, talesClinic, slug))
		if err != nil {
			return err
		}
		applied, err := s.db.ApplyClinic(ctx, f, store.ApplyOptions{Phones: phone.Options{AllowTestBands: true}})
		if err != nil {
			return err
		}
		s.casts[applied.Tenant] = cast
		for _, t := range tales {
			if _, err := s.post(ctx, applied.Webhooks[0], t.number, visitOf(t.number)); err != nil {
				return err
			}
		}
	}
	return nil
}

// visitOf is the payload of a visit by the patient of a magic number, who is
// called by it.
func visitOf(number string) []byte {
	return fmt.Appendf(nil, `{"type":"visit","patient":{"external_id":%[1]q,"name":%[1]q,"phone":%[1]q}}`, number)
}

// still waits until nothing moves and the ledger has every result that the
// gateway has given.
func (s *stage) still(ctx context.Context) (r store.Rehearsal, err error) {
	deadline, settled := time.Now().Add(patience), time.Now().Add(3*time.Second)
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		if r, err = s.db.Rehearsal(ctx); err != nil {
			return r, err
		}
		if r.Moving == 0 {
			behind, err := s.look(ctx, r)
			if err != nil || len(behind) == 0 {
				return r, err
			}
			if time.Now().After(settled) {
				// The next leap brings another look at the gateway.
				for _, k := range behind {
					s.untold[k] = true
				}
				return r, nil
			}
		}
		if time.Now().After(deadline) {
			return r, fmt.Errorf("%d steps still move after %v: the machine is very busy, or something is wrong", r.Moving, patience)
		}
		select {
		case <-ctx.Done():
			return r, ctx.Err()
		case <-ticker.C:
		}
	}
}

// leap lets time pass to the next thing that is due, and at least by a small
// share of what has passed: nothing is measured more exactly than that.
func (s *stage) leap(ctx context.Context, r store.Rehearsal) error {
	clock, err := s.clock(ctx, nil)
	if err != nil {
		return err
	}
	now := r.Now
	if clock.Now.After(now) {
		now = clock.Now
	}
	to := now.Add(max(15*time.Second, r.Now.Sub(s.begin)/8))
	next := r.Next
	if next.IsZero() || !clock.Next.IsZero() && clock.Next.Before(next) {
		next = clock.Next
	}
	switch {
	case next.IsZero():
		return errors.New("nothing waits for anything, and not every story has ended")
	case next.After(to):
		to = next
	}
	// The gateway first: what it reports by then is there to be read.
	if _, err := s.clock(ctx, map[string]any{"advance": to.Sub(clock.Now).String()}); err != nil {
		return err
	}
	return s.db.PassTime(ctx, to)
}

// clock changes the simulator's clock, or only asks for it.
func (s *stage) clock(ctx context.Context, change map[string]any) (st simulator.ClockState, err error) {
	method := http.MethodGet
	if change != nil {
		method = http.MethodPost
	}
	return st, s.sim(ctx, method, "clock", change, &st)
}

// sim calls the simulator's control plane.
func (s *stage) sim(ctx context.Context, method, what string, body map[string]any, out any) error {
	var in io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return err
		}
		in = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, s.where.Simulator+"/__sim/"+what, in)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		b, _ := io.ReadAll(io.LimitReader(res.Body, 1<<10))
		return fmt.Errorf("the simulator answered %s to %s: %s", res.Status, what, b)
	}
	return json.NewDecoder(res.Body).Decode(out)
}
