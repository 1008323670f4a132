package seal

// Held returns how many tenants' keys r holds, zeroed ones not.
func (r *Ring) Held() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for at := r.oldest.Front(); at != nil; at = at.Next() {
		if !at.Value.(*entry).set.Key.IsZero() {
			n++
		}
	}
	if n != len(r.tenants) {
		panic("seal: the ring's list and map differ")
	}
	return n
}
