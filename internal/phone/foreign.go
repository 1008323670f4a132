package phone

import (
	"strconv"

	"github.com/nyaruka/phonenumbers"
)

// parseForeign reads a number outside Korea from its digits, country code
// first. Whether it is a mobile one is libphonenumber's word; where a country
// does not tell mobiles from landlines (+1), it is taken for one.
func parseForeign(digits []byte, opt Options) (Number, error) {
	if digits[0] == '0' || len(digits) < 7 {
		return Number{}, ErrInvalid
	}
	if !opt.International {
		return Number{}, ErrForeign
	}
	p, err := phonenumbers.Parse("+"+string(digits), "")
	if err != nil || !phonenumbers.IsValidNumber(p) {
		return Number{}, ErrInvalid
	}
	switch phonenumbers.GetNumberType(p) {
	case phonenumbers.MOBILE, phonenumbers.FIXED_LINE_OR_MOBILE:
	default:
		return Number{}, ErrNotMobile
	}
	e164 := phonenumbers.Format(p, phonenumbers.E164)
	if len(e164) > 1+maxDigits {
		return Number{}, ErrInvalid
	}
	return Number{e164}, nil
}

// Split returns the country code and the digits after it, such as 44 and
// 7911123456, the way international gateway fields want them. The zero Number
// returns two empty strings.
func (n Number) Split() (country, subscriber string) {
	switch {
	case n.IsZero():
		return "", ""
	case !n.Foreign():
		return korea[1:], n.e164[len(korea):]
	}
	p, err := phonenumbers.Parse(n.e164, "")
	if err != nil { // cannot be: only Parse makes a Number
		return "", n.e164[1:]
	}
	country = strconv.Itoa(int(p.GetCountryCode()))
	return country, n.e164[1+len(country):]
}
