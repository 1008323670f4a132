package storetest
import ("testing";"time";"fmt";"github.com/jackc/pgx/v5")
func TestZZ(t *testing.T){
 d:=Database(t)
 tm:=func(n string,f func()){ s:=time.Now(); f(); fmt.Println(n,time.Since(s)) }
 tpl,_:=server{}.template()
 s,_:=shared()
 for range 12 {
 var c *pgx.Conn
 tm("connect",func(){c=connect(t,d.Super)})
 e:=func(q string){ tm(q,func(){ if _,err:=c.PgConn().Exec(t.Context(),q).ReadAll();err!=nil{t.Fatal(err)}})}
 e("CREATE DATABASE z1 TEMPLATE "+tpl+" STRATEGY wal_log")
 e("CREATE DATABASE z2 TEMPLATE "+tpl+" STRATEGY file_copy")
 e("REVOKE ALL ON DATABASE z1 FROM PUBLIC; GRANT CONNECT ON DATABASE z1 TO app_api, app_worker")
 e("DROP DATABASE z1 WITH (FORCE)")
 e("DROP DATABASE z2 WITH (FORCE)")
 e("select 1")
 }
 _=s
}
