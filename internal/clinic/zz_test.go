package clinic
import ("testing";"fmt";"github.com/goccy/go-yaml")
func TestZZ(t *testing.T){
 for _, s := range []string{
 "tenant:\n  slug: a\npatients:\n  - {external_id: P-1, name: 김, phone: 010-1234-5678}\n  - {external_id: P-1, nmae: 김, phone: 010-9234-5678}\n",
 "patients:\n  - {external_id: P-1, 010-1234-5678: 김}\n",
 "patients:\n  - {external_id: P-1, opted_out: 010-1234-5678}\n",
 "patients:\n  - external_id: P-1\n    phone: 010-1234-5678\n   name: x\n",
 "patients:\n  - external_id: P-1\n    phone: \"010-1234-5678\n",
 "patients:\n  - external_id: P-1\n    phone: [010-1234-5678]\n",
 "patients:\n  - external_id: P-1\n    phone: &a {b: 010-1234-5678}\n",
 "patients:\n  - external_id: P-1\n    phone: *01012345678\n",
 "patients: 010-1234-5678\n",
 "patients:\n  010-1234-5678\n  - a: b\n",
 "patients:\n  - 010-1234-5678\n",
 "patients:\n  - phone: 010-1234-5678: x\n",
 "patients:\n  - phone: @01012345678\n",
 "patients:\n  - phone: !01012345678 x\n",
 "patients:\n  - phone: 1\n    phone: 010-1234-5678\n",
 "%YAML 010-1234-5678\n---\na: b\n",
 "patients:\n  - phone: \"\\x010-1234-5678\"\n",
 "patients:\n  - phone: |01012345678\n     x\n",
 "tenant: {send_at: 010-1234-5678}\n",
 "patients:\n\t- phone: 010-1234-5678\n",
 "workflows:\n - steps: [{day: 01012345678}]",
 "workflows:\n - steps: [{day: 99999999999999999999}]",
 "patients:\n  - {external_id: P-1, phone: 010-1234-5678, opted_out: {a: 1}}\n",
 "patients:\n  - 01012345678: x\n    01012345678: y\n",
 "", "null", "[]", "a: &a [*a]",
 } {
  f := new(File)
  err := yaml.UnmarshalWithOptions([]byte(s), f, yaml.Strict())
  if err==nil { fmt.Printf("OK %q -> %+v\n", s, f); continue}
  fmt.Printf("%q\n  -> %s\n  full: %s\n", s, yaml.FormatError(err,false,false), yaml.FormatError(err,false,true))
 }
}
