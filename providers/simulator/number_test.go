package simulator

import "testing"

func TestNumbers(t *testing.T) {
	t.Parallel()
	tests := []struct {
		no             string
		mobile, abroad bool
	}{
		{"01012345678", true, false},
		{"+82 10", false, false},
		{"010-1234-5678", true, false},
		{"+821012345678", true, false},
		{"821012345678", true, false},
		{"0111234567", true, false},
		{"0161234567", true, false},
		{"0101234567", false, false},
		{"0131234567", false, false},
		{"021234567", false, false},
		{"15880000", false, false},
		{"", false, false},
		{"0101234567a", false, false},
		{"14155550100", false, true},
	}
	for _, tt := range tests {
		no := national(tt.no)
		if mobile(no) != tt.mobile || foreign(no) != tt.abroad {
			t.Errorf("%q: mobile %v foreign %v, want %v %v", tt.no, mobile(no), foreign(no), tt.mobile, tt.abroad)
		}
	}
}

func TestSenderNumbers(t *testing.T) {
	t.Parallel()
	for no, want := range map[string]bool{
		"025550100": true, "01012345678": true, "15880000": true, "18001234": true, "07012345678": true,
		"1588000": false, "12340000": false, "158800001": false, "": false, "02555010a": false,
	} {
		if got := senderNo(no); got != want {
			t.Errorf("senderNo(%q) = %v, want %v", no, got, want)
		}
	}
}
