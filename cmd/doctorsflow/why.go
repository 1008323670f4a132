package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/internal/telemetry"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
)

type whyCommand struct {
	dataFlags
	Subject string `arg:"" name:"patient|trigger|step" help:"Id of a patient, trigger, run or step; or a patient's external_id."`
	Tenant  string `help:"The clinic's slug; needed where there are several." short:"t"`
	Reason  string `help:"Why you look, for the audit log: one line, nothing of the patient."`
	Lang    string `help:"ko, en, or auto: by LANG." default:"auto" enum:"auto,ko,en"`
}

// Run prints one line per step: its state, its one reason and the evidence.
func (c *whyCommand) Run(ctx context.Context, o output) error {
	db, _, closeLedger, err := openLedger(ctx, c.dataFlags, false, telemetry.NewLogger(o.err, c.LogFormat, "warn"))
	if err != nil {
		return err
	}
	defer closeLedger()
	if !store.ValidNote(c.Reason) {
		return fmt.Errorf("--reason is one line of at most %d letters, without long numbers", store.MaxNote)
	}
	tenants, err := chooseTenants(ctx, db, c.Tenant)
	if err != nil {
		return err
	}
	for _, id := range tenants {
		st, err := find(ctx, db, id, c.Subject)
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		if err := db.Audit(ctx, id, c.told(st)); err != nil {
			return err
		}
		printStory(o.out, st, korean(c.Lang))
		return nil
	}
	return fmt.Errorf("nothing is known about %q: give the id of a patient, trigger, run or step, or a patient's external_id", c.Subject)
}

// told is what the audit log keeps of a story that is shown.
func (c *whyCommand) told(st store.Story) store.AuditEntry {
	subject, err := uuid.Parse(c.Subject)
	e := store.AuditEntry{Hand: store.Hand{Note: c.Reason}, Action: "read", Subject: "why", Detail: map[string]any{"rows": len(st.Triggers)}}
	if err == nil {
		e.SubjectID = subject
	}
	for _, t := range st.Triggers {
		e.Patients = append(e.Patients, t.Patient)
	}
	return e
}

func find(ctx context.Context, db *store.DB, id tenant.ID, subject string) (store.Story, error) {
	if u, err := uuid.Parse(subject); err == nil {
		return db.Why(ctx, id, u)
	}
	patient, err := db.PatientByExternalID(ctx, id, subject)
	if err != nil {
		return store.Story{}, err
	}
	return db.Why(ctx, id, patient)
}

// chooseTenants returns the named tenant, or all of them.
func chooseTenants(ctx context.Context, db *store.DB, slug string) ([]tenant.ID, error) {
	if slug != "" {
		id, err := db.TenantBySlug(ctx, slug)
		if errors.Is(err, store.ErrNotFound) {
			return nil, fmt.Errorf("there is no clinic %q; `doctorsflow tenant list` shows them", slug)
		}
		return []tenant.ID{id}, err
	}
	rows, err := db.Tenants(ctx)
	if err != nil {
		return nil, err
	}
	ids := make([]tenant.ID, len(rows))
	for i, r := range rows {
		ids[i] = r.ID
	}
	return ids, nil
}

func korean(lang string) bool {
	if lang != "auto" {
		return lang == "ko"
	}
	for _, v := range []string{"LC_ALL", "LC_MESSAGES", "LANG"} {
		if s := os.Getenv(v); s != "" {
			return strings.HasPrefix(s, "ko")
		}
	}
	return false
}

func printStory(w io.Writer, st store.Story, ko bool) {
	say := func(en, kr string) string {
		if ko {
			return kr
		}
		return en
	}
	for _, t := range st.Triggers {
		fmt.Fprintf(w, "%s  %s  %s %s %s\n", st.Clinic, clinicTime(t.Received, st.Zone), say("trigger", "트리거"), t.ID, strings.TrimSpace(string(t.Kind)+" "+t.EventType))
		if t.Patient != uuid.Nil {
			fmt.Fprintf(w, "  %s %s %s\n", say("patient", "환자"), orElse(t.PatientName, say("(erased)", "(파기됨)")), t.Patient)
		}
		for _, r := range t.Runs {
			printWay(w, r, st.Zone, say)
		}
		if len(t.Steps) == 0 && len(t.Runs) == 0 {
			fmt.Fprintf(w, "  %s: %s\n", t.State, say(t.Reason.English(), t.Reason.Korean()))
		}
		for _, s := range t.Steps {
			indent := "  "
			if s.Parent != uuid.Nil {
				indent = "    └ "
			}
			reason := say("waiting for its time", "예정 시각을 기다리는 중")
			switch {
			case s.Reason != "":
				reason = say(s.Reason.English(), s.Reason.Korean())
			case s.State == store.StateSent:
				reason = say("accepted by the gateway; waiting for its report", "발송사가 접수함, 결과 보고를 기다리는 중")
			case s.State == store.StateClaimed:
				reason = say("a request is under way", "발송 요청이 진행 중")
			case s.State == store.StateUnknown:
				reason = say("its outcome is being found out", "발송 결과를 확인하는 중")
			}
			fmt.Fprintf(w, "%s%s #%s %-5s %s: %s [%s]%s\n", indent, s.Workflow, s.Node, s.Channel, s.State, reason, orElse(string(s.Reason), "-"), evidence(s, st.Zone, say))
		}
	}
}

// printWay tells which way a run took through its drawing, and where it rests.
func printWay(w io.Writer, r store.StoryRun, zone *time.Location, say func(en, kr string) string) {
	fmt.Fprintf(w, "  %s: %s\n", r.Workflow, strings.Join(r.Passed, " → "))
	for _, c := range r.Clicks {
		fmt.Fprintf(w, "    #%s %s %s\n", c.Node, say("link clicked at", "링크 클릭"), clinicTime(c.At, zone))
	}
	for _, rest := range r.Rests {
		until := clinicTime(rest.Until, zone)
		what := say("looks again at", "확인 예정")
		switch {
		case rest.Outcome == "" && rest.Event != "":
			what = say("waits for "+rest.Event+" until", rest.Event+" 대기, 기한")
		case rest.Outcome == "event":
			what = say(rest.Event+" happened before", rest.Event+" 발생, 기한")
		case rest.Outcome == "timeout":
			what = say(rest.Event+" had not happened by", rest.Event+" 미발생, 기한")
		case rest.Outcome == "reached":
			what = say("looked at", "확인함")
		case rest.Outcome != "":
			what = say("given up; would have been looked at", "중단됨, 예정 시각")
		}
		fmt.Fprintf(w, "    #%s %s %s\n", rest.Node, what, until)
	}
}

// evidence lists what proves the state.
func evidence(s store.StoryStep, zone *time.Location, say func(en, kr string) string) string {
	var b strings.Builder
	part := func(name, value string) {
		if value != "" {
			fmt.Fprintf(&b, "  %s=%s", name, value)
		}
	}
	part("step", s.ID.String())
	part(say("due", "예정"), clinicTime(s.DueAt, zone))
	if s.Attempt > 0 {
		part(say("attempt", "시도"), fmt.Sprint(s.Attempt))
	}
	part(say("sent", "발송"), clinicTime(s.SentAt, zone))
	part(say("delivered", "도착"), clinicTime(s.Delivered, zone))
	part("request_id", s.RequestID)
	part("code", s.Code)
	return b.String()
}

// clinicTime writes a time as the clinic's clock shows it.
func clinicTime(t time.Time, zone *time.Location) string {
	if t.IsZero() {
		return ""
	}
	return t.In(zone).Format("2006-01-02T15:04:05")
}
