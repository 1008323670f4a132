package stream

import (
	"testing"
	"time"
)

func TestOlderServersAreTold(t *testing.T) {
	t.Parallel()
	tests := []struct {
		have  string
		older bool
	}{
		{"2.14.9", false},
		{"v2.14.9", false},
		{"2.14.10", false},
		{"2.15.0", false},
		{"3.0.0", false},
		{"10.0.0", false},
		{"2.14.8", true},
		{"2.14.0", true},
		{"2.12.15", true},
		{"2.9.99", true},
		{"1.99.99", true},
		{"2.14.9-RC.1", true},
		{"2.15.0-dev", false},
		{"2.14", true},
		{"2.15", false},
		{"3", false},
		{"", true},
		{"unknown", true},
		{"x.y.z", true},
	}
	for _, tt := range tests {
		if got := olderThan(tt.have, MinServer); got != tt.older {
			t.Errorf("olderThan(%q, %s) = %v, want %v", tt.have, MinServer, got, tt.older)
		}
	}
}

func TestBackoffGrowsToItsBound(t *testing.T) {
	t.Parallel()
	for deliveries, want := range map[uint64]time.Duration{
		1: 250 * time.Millisecond, 2: 500 * time.Millisecond, 3: time.Second, 6: 8 * time.Second,
		7: 15 * time.Second, 100: 15 * time.Second, 1 << 63: 15 * time.Second,
	} {
		if got := backoff(deliveries); got != want {
			t.Errorf("backoff(%d) = %v, want %v", deliveries, got, want)
		}
	}
}

// A message that waits for its turn in a process must not be handed out again
// meanwhile for ever: every consumer gives up waiting for an acknowledgement.
func TestEveryConsumerDeliversAgainWithoutEnd(t *testing.T) {
	t.Parallel()
	names := map[string]bool{}
	for _, s := range streams(3) {
		if s.Replicas != 3 || len(s.Subjects) == 0 || s.Name == "" {
			t.Errorf("stream %+v", s)
		}
		for _, c := range consumers(s.Name) {
			if c.MaxDeliver != -1 || c.AckWait <= 0 || c.FilterSubject == "" || names[c.Durable] {
				t.Errorf("consumer %+v of %s", c, s.Name)
			}
			names[c.Durable] = true
		}
	}
	if len(names) != 4 || len(consumers("OTHER")) != 0 {
		t.Errorf("consumers %v", names)
	}
}
