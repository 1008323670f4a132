package main

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/doctorsflow/doctorsflow/providers/simulator"
)

var update = flag.Bool("update", false, "write docs/stories.md")

// TestEveryStoryEndsAsTheRulesSay plays four days with every magic number of
// the gateway simulator. A story that ends otherwise fails the command.
func TestEveryStoryEndsAsTheRulesSay(t *testing.T) {
	t.Parallel()
	data, err := dataDir()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { removeData(t, data) })
	out := command(t, "demo", "--stories", "--data", data, "--http-addr", "127.0.0.1:0")
	n, clinics := 0, 0
	for _, c := range stories {
		n, clinics = n+len(c.tales), clinics+len(c.clinics())
	}
	for _, want := range []string{
		fmt.Sprintf("%d of %d ended as the rules say", n, n),
		fmt.Sprintf("%d clinics  ✔ holds", clinics),
		"gateway  0 violations",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("the stories do not end with %q:\n%s", want, out)
		}
	}
	for line := range strings.Lines(out) {
		line = strings.TrimRight(line, "\n")
		if columns(line) > 120 && !strings.Contains(line, data) && !strings.HasPrefix(line, "  steps ") {
			t.Errorf("%d columns: %s", columns(line), line)
		}
	}
	noProcessOf(t, data)
}

// untold says of which modes not every outcome has a story, and why one of
// each product is enough.
var untold = map[int]string{
	2: "the report of mode 0, five minutes late: what is done about a code, mode 0 tells",
	3: "the report of mode 0, half an hour late: as mode 2",
	8: "no message is asked for twice because of a report, so that only the first counts, as in mode 0",
}

// TestEveryScenarioHasAStory holds the table against the simulator's own list.
// Scenarios that say the same play the same.
func TestEveryScenarioHasAStory(t *testing.T) {
	t.Parallel()
	type key struct {
		product simulator.Product
		what    string
	}
	told, modes, numbers := map[key]bool{}, map[key]bool{}, map[string]bool{}
	for _, c := range stories {
		for _, tale := range c.tales {
			if numbers[tale.number] || len(tale.want) == 0 || tale.why == "" {
				t.Errorf("%s is told twice, or has no end, or no reason", tale.number)
			}
			numbers[tale.number] = true
			for _, p := range []simulator.Product{simulator.Alimtalk, simulator.SMS} {
				s, ok := simulator.ScenarioOf(p, tale.number)
				if !ok {
					t.Fatalf("%s is not a magic number", tale.number)
				}
				told[key{p, s.String()}], modes[key{p, fmt.Sprint(s.Mode)}] = true, true
			}
		}
	}
	for _, s := range simulator.Scenarios() {
		if told[key{s.Product, s.String()}] {
			continue
		}
		if untold[s.Mode] == "" || !modes[key{s.Product, fmt.Sprint(s.Mode)}] {
			t.Errorf("%s %s (%s) has no story, and no reason for that", s.Product, s.Digits(), s)
		}
	}
}

func TestTheStoriesPageIsTheTable(t *testing.T) {
	t.Parallel()
	const path = "../../docs/stories.md"
	want := storiesPage(stories)
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(got), want); diff != "" {
		t.Errorf("docs/stories.md is not the table; if the change is meant, run `go test ./cmd/doctorsflow -run Stories -update` (-file +table):\n%s", diff)
	}
}

func TestSpansAreShort(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		0: "0 s", 400 * time.Millisecond: "0 s", 90 * time.Second: "90 s", 2 * time.Minute: "2 min", 119 * time.Minute: "119 min",
		25 * time.Hour: "25 h", 47 * time.Hour: "47 h", 96 * time.Hour: "4 d",
	} {
		if got := span(d); got != want {
			t.Errorf("span(%v) = %q, want %q", d, got, want)
		}
	}
}

func TestAStoryThatEndsOtherwiseIsWrong(t *testing.T) {
	t.Parallel()
	tale := smsTale("500", "absent, then sent again", smsArrived).after(quiet)
	good := func() played {
		return played{tale: tale, got: tale.want, logs: []string{"failed", "delivered"}, took: quiet + time.Minute}
	}
	for name, change := range map[string]func(*played){
		"": func(*played) {},
		"not as": func(p *played) {
			p.got = []leg{kakaoFailed("3019"), {smsArrived.channel, smsArrived.state, smsArrived.reason, "1000", 2}}
		},
		"anomaly":              func(p *played) { p.anomaly = "success_after_failure" },
		"which is before":      func(p *played) { p.took = time.Second },
		"only after":           func(p *played) { p.took = 2 * time.Hour },
		"message_logs.status":  func(p *played) { p.logs = []string{"failed", "sent"} },
		"not as \"kakao fail…": func(p *played) { p.got = p.got[:1] },
	} {
		p := good()
		change(&p)
		if got, want := p.wrong(), strings.Split(name, "\"")[0]; (got == "") != (want == "") || !strings.Contains(got, want) {
			t.Errorf("%q: wrong() = %q", name, got)
		}
	}
}

// columns counts what a terminal shows, as pad does.
func columns(s string) int {
	const wide = 10_000
	return wide - strings.Count(pad(s, wide)[len(s):], " ")
}
