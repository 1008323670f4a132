package appointment

// Became is what has happened to an appointment of which a source says only
// where it stands. known is what older words add up to, nil where there is
// none; when is nil where the source names no time.
func Became(known *State, stands Status, when *When) Kind {
	if known == nil {
		return kindOf[stands]
	}
	moved := when != nil && !when.Same(known.When)
	switch {
	case stands == Scheduled && (known.Status == HasRequested || known.Status == HasCancelled || known.Status == HasNotShown):
		return Booked
	case stands == Scheduled && moved:
		return Rescheduled
	case stands == Scheduled, stands == HasRequested, stands == known.Status:
		return Edited
	}
	return kindOf[stands]
}

var kindOf = map[Status]Kind{
	HasRequested: Requested, Scheduled: Booked, HasCheckedIn: CheckedIn, HasCompleted: Completed, HasNotShown: NoShow, HasCancelled: Cancelled,
}

// Says reports whether a change says anything that known does not: a source
// that tells how things stand says the same again and again.
func (c Change) Says(known State) bool {
	return c.status() != "" && c.status() != known.Status || c.When != nil && !c.When.Same(known.When) || c.Surgery != nil && *c.Surgery != known.Surgery
}

// Before is what those of the changes add up to that are older than a rank;
// nil where none is.
func Before(changes []Change, r Rank) *State {
	var older []Change
	for _, c := range changes {
		if c.Compare(r) < 0 {
			older = append(older, c)
		}
	}
	if len(older) == 0 {
		return nil
	}
	s := Fold(older)
	return &s
}
