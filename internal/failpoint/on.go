//go:build failpoint

package failpoint

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
)

// Points lists every hand-over, in the order of the path.
var Points = []Point{
	IngestTaken, IngestCommitted, IngestAnswering, IngestAnswered, IngestPublished,
	PlannerPlanning, PlannerPlanned, PlannerPublished, PlannerSettled,
	DeciderDeciding, DeciderDecided,
	ReleaseLeased, ReleasePublished, ReleaseFound,
	DispatcherAdmitted, DispatcherClaiming, DispatcherClaimed, DispatcherWritten, DispatcherAnswered, DispatcherPublished,
	DispatcherSlept, DispatcherTold,
	RecorderApplying, RecorderApplied, RecorderFellBack,
	PollerRead, PollerPublished,
	ChangeTaken, ChangePlanning, ChangeKept,
	NoticeKept, GapRead, ResourceRead,
	ScheduleFired, BatchPlanning, BatchPlanned, BatchKept,
	ReportTaken, ReportKept, ConfirmerAsked, ConfirmerPublished,
	ResolverAsked, ResolverPublished,
}

// Env is the variable that [Arm] reads: name:count kills the process at the
// count-th hit of a point; name:count:pause holds whoever hits it from then on,
// for ever. Several are separated by commas.
const Env = "DOCTORSFLOW_FAILPOINT"

// Paused is the setting that holds whoever hits the point, from the first hit.
func (p Point) Paused() string { return string(p) + ":1:pause" }

// trap waits at one point.
type trap struct {
	at    int64
	pause bool
	hits  atomic.Int64
}

// traps is written by [Arm], before anything runs that may hit a point.
var traps map[Point]*trap

// Arm sets the traps that the environment asks for. Its error lists the points
// that there are.
func Arm() error {
	set, err := parse(os.Getenv(Env))
	if err != nil {
		return fmt.Errorf("failpoint: %w", err)
	}
	traps = set
	return nil
}

func parse(s string) (map[Point]*trap, error) {
	set := map[Point]*trap{}
	for one := range strings.SplitSeq(s, ",") {
		if one == "" {
			continue
		}
		name, rest, _ := strings.Cut(one, ":")
		if !slices.Contains(Points, Point(name)) {
			return nil, fmt.Errorf("%s=%q: there is no point %q; use one of %s", Env, s, name, list())
		}
		count, action, _ := strings.Cut(rest, ":")
		n, err := strconv.ParseInt(count, 10, 64)
		if err != nil || n < 1 || action != "" && action != "pause" {
			return nil, fmt.Errorf("%s=%q: write name:count or name:count:pause, with a count from 1", Env, s)
		}
		set[Point(name)] = &trap{at: n, pause: action == "pause"}
	}
	return set, nil
}

func list() string {
	names := make([]string, len(Points))
	for i, p := range Points {
		names[i] = string(p)
	}
	return strings.Join(names, ", ")
}

// Fired is what a process writes to standard error before it kills itself.
func Fired(p Point, hit int64) string { return fmt.Sprintf("failpoint %s: killed at hit %d", p, hit) }

// Hit counts, and kills the process with SIGKILL where a trap says so: nothing
// is flushed, closed or deferred.
func Hit(p Point) {
	t := traps[p]
	if t == nil {
		return
	}
	n := t.hits.Add(1)
	if n < t.at {
		return
	}
	if !t.pause {
		if n > t.at {
			select {} // the process is ending
		}
		fmt.Fprintln(os.Stderr, Fired(p, n))
		self, err := os.FindProcess(os.Getpid())
		if err == nil {
			err = self.Kill()
		}
		if err != nil {
			panic(fmt.Sprintf("failpoint: kill this process: %v", err))
		}
	}
	select {}
}
