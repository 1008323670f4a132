package bench

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
)

// Print writes the medians as a table.
func (r *Report) Print(w io.Writer) error {
	m := &r.Median
	how := fmt.Sprintf("flat out, %d callers", r.Shape.Callers)
	if r.Shape.Rate > 0 {
		how = fmt.Sprintf("%g calls/s", r.Shape.Rate)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "%d CPUs, %s, %s; %d calls, %s, %g %% refused by Kakao, gateway latency %g ms; medians of %d runs\n\n",
		r.Machine.CPUs, r.Machine.OS, r.Machine.Go, m.Calls, how, r.Shape.Refusals*100, float64(r.GatewayLatency)*1000, len(r.Runs))
	fmt.Fprintf(t, "accepted/s\t%s\t%s\n", thousands(m.AcceptedRate), answers(m.Answers))
	fmt.Fprintf(t, "sends/s\t%s\t%d sends, %d of them after a refusal; busiest half %s/s\n", thousands(m.SendRate), m.Sends, m.Fallbacks, thousands(m.BusySendRate))
	for _, c := range r.Ceilings {
		ours := ""
		if c.Ratio > 0 {
			ours = fmt.Sprintf("\tours is %.2f of it", c.Ratio)
		}
		fmt.Fprintf(t, "  ceiling: %s\t%s%s\n", c.Name, thousands(c.PerSecond), ours)
	}
	if r.Foreign {
		fmt.Fprintf(t, "the gateway does not say what arrived: taken from the ledger, when it answered; doubles are not seen\n")
	}
	fmt.Fprintf(t, "\nlatency in ms\tp50\tp99\tmax\n")
	for _, l := range []struct {
		name string
		Latency
	}{{"call to 202", m.Accept}, {"call to gateway", m.Trigger}, {"lateness of the +2 s step", m.Lateness}, {"call to fallback SMS", m.Fallback}} {
		latency(t, l.name, l.Latency)
	}
	processes(t, m.CPU, m.Memory)
	if m.CPUPer1000 > 0 {
		fmt.Fprintf(t, "worker + database\t%.3f per 1,000 sends\t%s\n", m.CPUPer1000, megabytes(m.Memory[Worker]+m.Memory[Database]))
	}
	fmt.Fprintf(t, "\nlost\t%d\ndoubled\t%d\n", m.Lost, m.Doubled)
	return t.Flush()
}

// Print writes the medians as a table.
func (r *TimersReport) Print(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "%d CPUs, %s, %s\n", r.Machine.CPUs, r.Machine.OS, r.Machine.Go)
	for _, row := range r.Timers {
		m := &row.Median
		within := "at one instant"
		if m.Spread > 0 {
			within = fmt.Sprintf("within %g s", float64(m.Spread))
		}
		fmt.Fprintf(t, "\n%d steps wait, %d fall due %s; medians of %d runs\n", m.Pending, m.Due, within, len(row.Runs))
		fmt.Fprintf(t, "latency in ms\tp50\tp99\tmax\n")
		latency(t, "lateness", m.Lateness)
		processes(t, m.CPU, m.Memory)
		fmt.Fprintf(t, "\nlost\t%d\ndoubled\t%d\n", m.Lost, m.Doubled)
	}
	return t.Flush()
}

func latency(w io.Writer, name string, l Latency) {
	if l.N == 0 {
		fmt.Fprintf(w, "%s\t–\t–\t–\n", name)
		return
	}
	fmt.Fprintf(w, "%s\t%.1f\t%.1f\t%.1f\n", name, float64(l.P50), float64(l.P99), float64(l.Max))
}

func processes(w io.Writer, cpu map[string]float64, memory map[string]int64) {
	fmt.Fprintf(w, "\nprocess\tCPU s\tpeak MB\n")
	for _, name := range []string{Worker, Database, Simulate, Driver} {
		if _, ok := cpu[name]; !ok {
			fmt.Fprintf(w, "%s\t–\t–\n", name)
			continue
		}
		fmt.Fprintf(w, "%s\t%.2f\t%s\n", name, cpu[name], megabytes(memory[name]))
	}
}

func megabytes(n int64) string { return fmt.Sprintf("%.0f", float64(n)/1e6) }

// thousands writes 12345.6 as 12,346.
func thousands(v float64) string {
	s := fmt.Sprintf("%.0f", v)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// answers writes how many answers there were by status, over all runs.
func answers(n map[string]int) string {
	var list []string
	for _, status := range slices.Sorted(maps.Keys(n)) {
		list = append(list, fmt.Sprintf("%d × %s", n[status], status))
	}
	return strings.Join(list, ", ")
}
