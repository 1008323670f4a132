package nhn

import "time"

// kst is the zone of every time on NHN's wire, which names none.
var kst = time.FixedZone("KST", 9*60*60)

// The forms in which the products take times: Alimtalk by the minute, SMS by
// the second.
const (
	byMinute = "2006-01-02 15:04"
	bySecond = "2006-01-02 15:04:05"
)

// forms are those in which NHN writes times. A fraction of a second may follow
// in each.
var forms = []string{bySecond, byMinute, "2006-01-02T15:04:05", "2006-01-02T15:04", time.RFC3339}

// parseTime reads a time as NHN writes it and reports whether it is one.
func parseTime(s string) (time.Time, bool) {
	for _, form := range forms {
		if t, err := time.ParseInLocation(form, s, kst); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}

// firstTime returns the first of the texts that is a time, else now.
func firstTime(texts ...word) time.Time {
	for _, s := range texts {
		if t, ok := parseTime(string(s)); ok {
			return t
		}
	}
	return time.Now()
}

// window is a span of time as a query asks for it, rounded outward to what its
// form can say.
type window struct {
	from, to time.Time
	form     string
}

func newWindow(from, to time.Time, form string) window {
	unit := time.Second
	if form == byMinute {
		unit = time.Minute
	}
	w := window{from: from.Truncate(unit), to: to.Truncate(unit), form: form}
	if w.to.Before(to) {
		w.to = w.to.Add(unit)
	}
	return w
}

func (w window) start() string { return w.from.In(kst).Format(w.form) }
func (w window) end() string   { return w.to.In(kst).Format(w.form) }

// split cuts the window into pieces of at most limit, which share their ends.
func (w window) split(limit time.Duration) []window {
	var ws []window
	for from := w.from; ; from = from.Add(limit) {
		if !from.Add(limit).Before(w.to) {
			return append(ws, window{from, w.to, w.form})
		}
		ws = append(ws, window{from, from.Add(limit), w.form})
	}
}
