package simulator

import "strings"

// digits reports whether s is not empty and all digits.
func digits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

// national returns a recipient number as NHN stores it: digits, without the
// country code of Korea.
func national(no string) string {
	no = strings.ReplaceAll(strings.TrimPrefix(no, "+"), "-", "")
	if len(no) >= 11 && strings.HasPrefix(no, "821") {
		return "0" + no[2:]
	}
	return no
}

// mobile reports whether no is a Korean mobile number: 010 with eight digits,
// or an old 011/016–019 number with seven or eight.
func mobile(no string) bool {
	if !digits(no) || len(no) < 10 || len(no) > 11 || !strings.HasPrefix(no, "01") {
		return false
	}
	switch no[2] {
	case '0':
		return len(no) == 11
	case '1', '6', '7', '8', '9':
		return true
	}
	return false
}

// foreign reports whether no can be a number of another country with its code.
func foreign(no string) bool {
	return digits(no) && no[0] != '0' && !strings.HasPrefix(no, "82") && len(no) >= 9 && len(no) <= 15
}

// senderNo reports whether no has the form of a Korean sender number: 8–11
// digits, of a landline, mobile, 15xx/16xx/18xx or 0N0 number (console-guide).
func senderNo(no string) bool {
	if !digits(no) || len(no) < 8 || len(no) > 11 {
		return false
	}
	if len(no) == 8 {
		return no[0] == '1' && (no[1] == '5' || no[1] == '6' || no[1] == '8')
	}
	return no[0] == '0'
}

// telecom returns the carrier of a number, chosen by its last digit.
func telecom(no string) (code int, name string) {
	if no == "" {
		return 10001, "SKT"
	}
	switch no[len(no)-1] % 3 {
	case 0:
		return 10001, "SKT"
	case 1:
		return 10002, "KT"
	}
	return 10003, "LGU"
}
