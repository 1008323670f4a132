package simulate_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
)

type object = map[string]any

// drawing is a random drawing that passes every check: nodes lead only to later
// ones, and a node may be reached by several ways.
func drawing(r *rand.Rand) string {
	nodes := []object{{"id": "start", "type": "trigger", "position": object{"x": 0, "y": 0}, "data": object{}}}
	var edges []object
	open := [][2]string{{"start", ""}} // ways out that lead nowhere yet
	link := func(to string, ways ...[2]string) {
		for _, w := range ways {
			e := object{"id": fmt.Sprint("e", len(edges)), "source": w[0], "target": to}
			if w[1] != "" {
				e["sourceHandle"] = w[1]
			}
			edges = append(edges, e)
		}
	}
	messages := []string{"n0"}
	for i := range 3 + r.IntN(8) {
		id := fmt.Sprint("n", i)
		kind, data, ways := node(r, messages)
		if i == 0 {
			kind, data, ways = "message", object{"template": "ask", "link": "https://clinic.example/survey"}, []string{""}
		}
		if (kind == "message" || kind == "survey") && i > 0 {
			messages = append(messages, id)
		}
		nodes = append(nodes, object{"id": id, "type": kind, "position": object{"x": 0, "y": i}, "data": data})
		// Some of what is open joins here, one at least.
		r.Shuffle(len(open), func(a, b int) { open[a], open[b] = open[b], open[a] })
		n := 1 + r.IntN(len(open))
		link(id, open[:n]...)
		open = open[n:]
		for _, w := range ways {
			open = append(open, [2]string{id, w})
		}
	}
	if r.IntN(2) == 0 {
		nodes = append(nodes, object{"id": "end", "type": "exit", "data": object{}})
		link("end", open...)
	}
	b, _ := json.Marshal(object{"nodes": nodes, "edges": edges})
	return string(b)
}

// survey waits for what happens only a while after the wait begins.
const survey = `{"nodes": [{"id": "start", "type": "trigger", "data": {}}, {"id": "asked", "type": "survey", "data": {"template": "look", "link": "https://clinic.example/survey"}},
  {"id": "wait", "type": "wait", "data": {"event": "clicked", "timeout": {"days": 3}}}, {"id": "yes", "type": "message", "data": {"template": "text"}}, {"id": "no", "type": "message", "data": {"template": "care"}}],
 "edges": [{"source": "start", "target": "asked"}, {"source": "asked", "target": "wait"}, {"source": "wait", "target": "yes", "sourceHandle": "event"}, {"source": "wait", "target": "no", "sourceHandle": "timeout"}]}`

func node(r *rand.Rand, messages []string) (kind string, data object, ways []string) {
	switch r.IntN(9) {
	case 8:
		return "survey", object{"template": []string{"ask", "look"}[r.IntN(2)], "link": "https://clinic.example/survey"}, []string{""}
	case 0, 1:
		return "message", object{"template": []string{"care", "text", "offer", "gap"}[r.IntN(4)], "late": []string{"send", "skip", "expire"}[r.IntN(3)]}, []string{""}
	case 2, 3:
		return "delay", delay(r), []string{""}
	case 4:
		return "condition", object{"expression": expression(r, messages)}, []string{"true", "false"}
	case 5:
		return "condition", object{"branches": []object{
			{"handle": "one", "expression": expression(r, messages)}, {"handle": "two", "expression": expression(r, messages)},
		}}, []string{"one", "two", "else"}
	case 6:
		return "wait", object{"event": []string{"delivered", "failed", "clicked"}[r.IntN(3)], "timeout": delay(r)}, []string{"event", "timeout"}
	default:
		return "split", object{"branches": []object{{"handle": "a", "percent": 30}, {"handle": "b", "percent": 70}}}, []string{"a", "b"}
	}
}

func delay(r *rand.Rand) object {
	switch r.IntN(8) {
	case 0:
		return object{"seconds": r.IntN(10)}
	case 1:
		return object{"minutes": r.IntN(90)}
	case 2:
		return object{"hours": r.IntN(50)}
	case 3:
		return object{"days": r.IntN(40), "at": fmt.Sprintf("%02d:%02d", r.IntN(24), 15*r.IntN(4))}
	case 4:
		return object{"business_days": r.IntN(6)}
	case 5:
		return object{"until": fmt.Sprintf("%02d:30", r.IntN(24))}
	case 6:
		return object{"field": "/appointment/date", "days": r.IntN(20), "before": r.IntN(2) == 0}
	default:
		return object{"field": "/appointment/missing", "hours": 1}
	}
}

func expression(r *rand.Rand, messages []string) string {
	m := messages[r.IntN(len(messages))]
	return []string{
		`patient.gender == "f"`,
		`has(happened.` + m + `) && happened.` + m + `.delivered`,
		`has(happened.` + m + `) && happened.` + m + `.failed`,
		`has(happened.` + m + `) && happened.` + m + `.clicked`,
		`has(happened.` + m + `) && happened.` + m + `.sent && trigger.appointment.price > 50.0`,
		`has(trigger.appointment.bone_graft)`,
		`size(happened) > 1`,
	}[r.IntN(7)]
}

// days is a random list of days.
func days(r *rand.Rand) string {
	var list []string
	for range 1 + r.IntN(5) {
		unit := []string{
			fmt.Sprintf("day: %d", []int{r.IntN(60), 90, 180, 365}[r.IntN(4)]), fmt.Sprintf(`day: %d, send_at: "%02d:00"`, r.IntN(60), r.IntN(24)),
			fmt.Sprintf("business_days: %d", r.IntN(20)), fmt.Sprintf("hours: %d", r.IntN(60)), fmt.Sprintf("minutes: %d", r.IntN(600)), fmt.Sprintf("seconds: %d", r.IntN(5)),
		}[r.IntN(6)]
		list = append(list, fmt.Sprintf("{%s, template: %s, late: %s}", unit, []string{"care", "text", "offer", "gap"}[r.IntN(4)], []string{"send", "skip", "expire"}[r.IntN(3)]))
	}
	return strings.Join(list, ", ")
}

// times are random rules of a clinic: its zone, windows, caps, a calendar.
func times(r *rand.Rand) (s string) {
	s = ", time_zone: " + []string{"Asia/Seoul", "America/New_York", "Australia/Lord_Howe"}[r.IntN(3)]
	if r.IntN(2) == 0 {
		s += fmt.Sprintf(`, frequency_caps: {all: {per_day: %d, per_week: %d}, care_followup: {per_week: %d}}`, 1+r.IntN(3), 3+r.IntN(5), 2+r.IntN(4))
	}
	if r.IntN(2) == 0 {
		s += fmt.Sprintf(`, send_windows: {all: [{days: [mon, tue, wed, thu, fri, sat], from: "09:%02d", until: "19:00"}], marketing: [{from: "10:00", until: "12:00"}]}`, r.IntN(60))
	}
	if r.IntN(2) == 0 {
		s += `, calendar: {working_days: [mon, tue, thu, sat], closed: ["2026-12-24"], open: ["2026-12-25"]}`
	}
	return s
}

// windows are random hours of a workflow.
func windows(r *rand.Rand) string {
	if r.IntN(3) > 0 {
		return ""
	}
	return fmt.Sprintf(`, send_windows: [{from: "%02d:00", until: "%02d:30"}]`, 9+r.IntN(4), 15+r.IntN(4))
}
