package main

import (
	"fmt"
	"strings"
)

const pageHead = `# Stories

What becomes of one Alimtalk with an SMS behind it, for every way that the gateways can answer, refuse, report, keep
silent or lie. ` + "`doctorsflow demo --stories`" + ` plays all of them, four days in less than a minute, against the all-in-one and
fails when one ends otherwise; the tests do the same. This page is written from the table that both use
(` + "`cmd/doctorsflow/stories_table.go`" + `).

The digits of a number say what the gateway simulator does (` + "`doctorsflow simulator --numbers`" + ` lists them): ` + "`010-0KKK-SSSN`" + `, ` + "`KKK`" + ` for
Kakao, ` + "`SSS`" + ` for SMS. *Ends as* is each step's state and reason, with the gateway's last code, and
` + "`message_logs.status`" + `; *taken* is how many requests the gateway accepted, by Kakao and by SMS; *not before* is the
earliest time after the trigger at which it may be decided.

How time passes: the simulator's clock and the ledger's stand still while anything moves, and then leap to the next
thing that is due. Nothing else is virtual: Postgres, JetStream, HTTP, webhooks and the roles are the real ones, with
the send protocol's real times (a request is waited for only 1 s, in place of 10 s).
`

// storiesPage is docs/stories.md.
func storiesPage(chapters []chapter) string {
	var b strings.Builder
	b.WriteString(pageHead)
	for _, c := range chapters {
		_, english, _ := strings.Cut(c.title, "  ")
		fmt.Fprintf(&b, "\n## %s\n\n%s\n\n| number | the gateway | ends as | taken | not before | why |\n|---|---|---|---|---|---|\n", english, c.note)
		for _, t := range c.tales {
			taken := []string{"0", "0"}
			for i, l := range t.want {
				taken[i] = fmt.Sprint(l.accepted)
			}
			why := t.why
			if t.anomaly != "" {
				why += " (`" + t.anomaly + "`)"
			}
			fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s |\n", t.number, t.gateway(), legs(t.want, leg.words), strings.Join(taken, " + "), since(t), why)
		}
	}
	return b.String()
}

func since(t tale) string {
	if t.ends == 0 {
		return "at once"
	}
	return span(t.ends)
}

// words is the leg for a reader: "Kakao failed: `fell_back` (3019)".
func (l leg) words() string {
	name := map[string]string{"kakao": "Kakao", "sms": "SMS"}[string(l.channel)]
	s := fmt.Sprintf("%s %s: `%s`", name, l.state, l.reason)
	if l.code != "" && l.reason.Code() == "" {
		s += " (" + l.code + ")"
	}
	if l.log() != string(l.state) {
		s += ", log `" + l.log() + "`"
	}
	return s
}
