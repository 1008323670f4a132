package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/internal/telemetry"
	"github.com/doctorsflow/doctorsflow/providers/simulator"
)

// playStories plays every magic number and prints how each ended.
func (d *demo) playStories(ctx context.Context) error {
	db, _, closeLedger, err := openLedger(ctx, d.flags.dataFlags, false, telemetry.NewLogger(io.Discard, "json", "error"))
	if err != nil {
		return err
	}
	defer closeLedger()
	begin := time.Now()
	s := &stage{db: db, where: d.where, post: d.post, tick: func(passed time.Duration, open int) {
		if d.tty {
			fmt.Fprintf(d.out, "\r\x1b[K%s passed · %d stories open", span(passed), open)
		}
	}}
	err = s.play(ctx, stories)
	if d.tty {
		fmt.Fprint(d.out, "\r\x1b[K")
	}
	if err != nil && len(s.plays) == 0 {
		return err
	}
	d.say(fmt.Sprintf("%d patients, one Alimtalk each, SMS behind it; played in %.0f s", len(s.plays), time.Since(begin).Seconds()))
	d.say("카톡 Kakao · 문자 SMS · ✔ delivered · ✘ failed, with its code · … neither, with the reason · → fell back to\n")
	wrong := d.printStories(s.plays)
	violations, verr := s.violations(ctx)
	cerr := d.printTotals(ctx, db, len(s.plays)-wrong, len(s.plays), violations)
	switch err := errors.Join(err, verr, cerr); {
	case err != nil:
		return err
	case wrong > 0 || len(violations) > 0:
		return failed{1}
	}
	d.say("")
	d.say("Look further 더 보기:")
	d.say(fmt.Sprintf("  %s why 010-0219-0000 --data %s", program(), d.flags.Data))
	d.say(fmt.Sprintf("  %s conserve --data %s", program(), d.flags.Data))
	if d.Keep {
		d.say(fmt.Sprintf("  %s/__sim/console    # every phone, in a browser", d.where.Simulator))
	}
	return nil
}

// storyLine lays out one row of the table.
func storyLine(mark, number, gateway, end, handset, took, why string) string {
	return strings.TrimRight(mark+" "+pad(number, 14)+pad(gateway, 30)+pad(end, 34)+pad(handset, 10)+pad(took, 7)+why, " ")
}

// printStories prints the chapters and returns how many tales ended otherwise.
func (d *demo) printStories(plays []*played) (wrong int) {
	head := storyLine(" ", "번호 number", "게이트웨이 the gateway", "결과 ended as", "환자 got", "시간", "이유 why")
	for i, p := range plays {
		if i == 0 || plays[i-1].chapter.slug != p.chapter.slug {
			d.say(fmt.Sprintf("■ %s\n  %s\n%s", p.chapter.title, p.chapter.note, d.paint("2", head)))
		}
		problem := p.wrong()
		mark := d.paint("32", "✔")
		if problem != "" {
			wrong++
			mark = d.paint("31", "✘")
		}
		d.say(storyLine(mark, p.number, p.gateway(), legs(p.got, leg.brief), p.handset, span(p.took), p.why))
		if problem != "" {
			d.say("    " + d.paint("31", problem))
		}
		if i+1 == len(plays) || plays[i+1].chapter.slug != p.chapter.slug {
			d.say("")
		}
	}
	return wrong
}

func (d *demo) paint(code, s string) string {
	if !d.tty {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}

// printTotals prints the conservation law over all clinics, and what the
// gateway holds against us.
func (d *demo) printTotals(ctx context.Context, db *store.DB, well, all int, violations []simulator.Violation) error {
	list, err := db.Conserve(ctx)
	if err != nil {
		return err
	}
	sum := store.Conservation{Name: fmt.Sprintf("%d clinics", len(list))}
	var broken int64
	for _, c := range list {
		broken += c.Diff()
		sum.Triggers, sum.Planned, sum.Ignored, sum.PendingTriggers = sum.Triggers+c.Triggers, sum.Planned+c.Planned, sum.Ignored+c.Ignored, sum.PendingTriggers+c.PendingTriggers
		sum.Steps, sum.Expected, sum.Delivered, sum.Sent = sum.Steps+c.Steps, sum.Expected+c.Expected, sum.Delivered+c.Delivered, sum.Sent+c.Sent
		sum.Failed, sum.Cancelled, sum.Skipped, sum.Expired = sum.Failed+c.Failed, sum.Cancelled+c.Cancelled, sum.Skipped+c.Skipped, sum.Expired+c.Expired
		sum.Parked, sum.Pending = sum.Parked+c.Parked, sum.Pending+c.Pending
		if c.Diff() != 0 {
			printConservation(d.out, c)
		}
	}
	if broken == 0 {
		printConservation(d.out, sum)
	}
	verdict := "nobody was sent a message twice, and none went out that should not have"
	if len(violations) > 0 {
		verdict = "the gateway saw what must not happen"
	}
	d.say(fmt.Sprintf("gateway  %d violations: %s", len(violations), verdict))
	for _, v := range violations[:min(len(violations), 10)] {
		b, err := json.Marshal(v)
		if err != nil {
			return err
		}
		d.say("  ✘ " + string(b))
	}
	d.say(fmt.Sprintf("stories  %d of %d ended as the rules say", well, all))
	if broken != 0 {
		return errors.New("the conservation law does not hold: this is a bug in Doctor's Flow")
	}
	return nil
}

func (s *stage) violations(ctx context.Context) (list []simulator.Violation, err error) {
	return list, s.sim(ctx, http.MethodGet, "violations", nil, &list)
}

// span writes a duration in its largest unit that is telling: "2 s", "5 min",
// "25 h", "4 d".
func span(d time.Duration) string {
	for _, u := range []struct {
		name string
		unit time.Duration
	}{{"d", 24 * time.Hour}, {"h", time.Hour}, {"min", time.Minute}} {
		if d >= 2*u.unit {
			return fmt.Sprintf("%d %s", d.Round(u.unit)/u.unit, u.name)
		}
	}
	return fmt.Sprintf("%d s", d.Round(time.Second)/time.Second)
}
