package appointment

// column is what a table's column says of an appointment.
type column int

// The columns that are understood.
const (
	colNumber column = iota
	colPatient
	colName
	colPhone
	colStarts
	colDate
	colTime
	colStatus
	colSurgery
	colChanged
	columns
)

// headings are the names that each column goes by, the better ones first: of
// two that are there, the first counts. They are compared without spaces and
// punctuation, in lower case. The Korean ones are those that clinics' exports
// are known to use; a list of them is published by nobody.
var headings = [columns][]string{
	colNumber:  {"예약번호", "예약id", "예약코드", "예약no", "접수번호", "appointmentid", "appointmentno", "bookingid", "reservationno"},
	colPatient: {"차트번호", "차트no", "차트", "환자번호", "환자id", "등록번호", "고객번호", "고객id", "externalid", "patientid", "patientno", "chartno"},
	colName:    {"환자명", "환자이름", "환자성명", "수진자명", "고객명", "성명", "이름", "name", "patientname"},
	colPhone:   {"휴대폰", "휴대폰번호", "휴대전화", "휴대전화번호", "핸드폰", "핸드폰번호", "hp", "연락처", "전화번호", "phone", "mobile", "phonenumber"},
	colStarts:  {"예약일시", "진료일시", "내원일시", "시술일시", "수술일시", "일시", "startsat", "start", "datetime"},
	colDate:    {"예약일", "예약일자", "예약날짜", "진료일", "진료일자", "내원일", "내원일자", "시술일", "수술일", "날짜", "일자", "appointmentdate", "date"},
	colTime:    {"예약시간", "예약시각", "진료시간", "내원시간", "시간", "시각", "appointmenttime", "time"},
	colStatus:  {"예약상태", "상태", "진행상태", "진료상태", "내원상태", "방문상태", "status", "state"},
	colSurgery: {"수술명", "수술종류", "수술", "시술명", "시술종류", "시술", "예약항목", "진료항목", "치료항목", "surgerytype", "treatment", "procedure"},
	colChanged: {"수정일시", "변경일시", "최종수정일시", "최종변경일시", "수정일", "updatedat", "modifiedat", "lastmodified"},
}

// statusWords are what practice software calls where an appointment stands,
// compared as headings are.
var statusWords = map[string]Status{
	"예약신청": HasRequested, "예약요청": HasRequested, "예약대기": HasRequested, "신청": HasRequested, "요청": HasRequested, "승인대기": HasRequested,
	"requested": HasRequested, "pending": HasRequested, "proposed": HasRequested,
	"예약완료": Scheduled, "예약확정": Scheduled, "예약": Scheduled, "확정": Scheduled, "예약변경": Scheduled,
	"scheduled": Scheduled, "booked": Scheduled, "confirmed": Scheduled,
	"접수": HasCheckedIn, "접수완료": HasCheckedIn, "내원": HasCheckedIn, "도착": HasCheckedIn, "진료대기": HasCheckedIn, "진료중": HasCheckedIn, "시술중": HasCheckedIn,
	"checkedin": HasCheckedIn, "arrived": HasCheckedIn, "inprogress": HasCheckedIn,
	"완료": HasCompleted, "진료완료": HasCompleted, "시술완료": HasCompleted, "수술완료": HasCompleted, "치료완료": HasCompleted, "방문완료": HasCompleted,
	"내원완료": HasCompleted, "수납": HasCompleted, "수납완료": HasCompleted, "completed": HasCompleted, "done": HasCompleted, "fulfilled": HasCompleted,
	"노쇼": HasNotShown, "미내원": HasNotShown, "미방문": HasNotShown, "부도": HasNotShown, "예약부도": HasNotShown, "noshow": HasNotShown,
	"취소": HasCancelled, "예약취소": HasCancelled, "취소완료": HasCancelled, "환자취소": HasCancelled, "병원취소": HasCancelled, "당일취소": HasCancelled,
	"cancelled": HasCancelled, "canceled": HasCancelled,
}
