package notify

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/tocsin-oncall/tocsin/server/roster"
)

func TestScrub(t *testing.T) {
	for in, want := range map[string]string{
		"Disk full on db-1":                                 "Disk full on db-1",
		"password=hunter2 refused":                          "password=[hidden] refused",
		`db_password: "a b c", host=x`:                      `db_password: [hidden], host=x`,
		`{"api_key":"abc","n":1}`:                           `{"api_key":[hidden],"n":1}`,
		"Authorization: Bearer eyJhbGciOi.x.y":              "Authorization: [hidden]",
		"curl -H 'Cookie: a=b; c=d'":                        "curl -H 'Cookie: [hidden]'",
		"Authorization: token abc123 refused":               "Authorization: [hidden]",
		`curl -H "Authorization: AWS4 Credential=a, b=c" x`: `curl -H "Authorization: [hidden]" x`,
		`{\"password\":\"hunter2\",\"n\":1}`:                `{\"password\":[hidden],\"n\":1}`,
		`{"password":"hun\"ter2","n":1}`:                    `{"password":[hidden],"n":1}`,
		"mysqldump --password hunter2 --all":                "mysqldump --password [hidden] --all",
		"tool -token 'a b' x":                               "tool -token [hidden] x",
		"tool --no-password --all":                          "tool --no-password --all",
		"https://h.example/a?%74oken=abc":                   "https://h.example/a",
		"got bearer abcdefghijkl from it":                   "got bearer [hidden] from it",
		"see https://u:p@h.example/x?y=1":                   "see https://h.example/x?y=1",
		"https://h.example/a?token=abc.":                    "https://h.example/a.",
		"https://h.example/a?q=" + strings.Repeat("x", 40):  "https://h.example/a",
		"https://h.example/a?page=2#top":                    "https://h.example/a?page=2",
		"mail to ann@example.org bounced":                   "mail to [hidden] bounced",
		"the secret of good coffee":                         "the secret of good coffee",
		"token refresh failed":                              "token refresh failed",
	} {
		if got := Scrub(in); got != want {
			t.Errorf("Scrub(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestStrictest(t *testing.T) {
	for _, c := range []struct {
		levels []roster.Privacy
		want   roster.Privacy
	}{
		{nil, roster.PrivacyFull},
		{[]roster.Privacy{0, 0}, roster.PrivacyFull},
		{[]roster.Privacy{roster.PrivacyMinimal, roster.PrivacyFull}, roster.PrivacyMinimal},
		{[]roster.Privacy{roster.PrivacyTitle, roster.PrivacySealed}, roster.PrivacySealed},
	} {
		if got := strictest(c.levels...); got != c.want {
			t.Errorf("strictest(%v) = %v, want %v", c.levels, got, c.want)
		}
	}
}

// FuzzHarmless: a line that is not looked at closely is one that would come out as it is.
func FuzzHarmless(f *testing.F) {
	for _, s := range []string{"Disk full on db-1", "PaSSword=x", "--API-key x", "paſſword=x", "Bearer 12345678", "a@b.c", "x://y", "private_key: z"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if harmless(s) && scrub(s) != s {
			t.Errorf("%q is taken as harmless, and becomes %q", s, scrub(s))
		}
	})
}

func BenchmarkScrub(b *testing.B) {
	for b.Loop() {
		Scrub("Error rate of checkout above 5% for 10 minutes on web-17")
	}
}

// FuzzScrub plants a secret in every form that is known to be one, between any
// two texts: it never comes through.
func FuzzScrub(f *testing.F) {
	for _, s := range []string{"x", "a=b", `"`, "https://", "é", "token=", "Bearer ", `token="`, `\`, "https://u:p@", "--secret ", "Cookie: '"} {
		f.Add(s, s)
	}
	const secret = "hunter2hunter2"
	forms := []string{
		"password=" + secret, "DB_PASSWORD: " + secret, `"token":"` + secret + `"`, `{\"api_key\":\"` + secret + `\"}`, "--secret=" + secret,
		"--token " + secret, "Authorization: Bearer " + secret, "Authorization: Token " + secret, "https://u:" + secret + "@h.example/",
		"https://h.example/?a=1&token=" + secret, "bearer " + secret, "ann." + secret + "@mail.example.org",
	}
	f.Fuzz(func(t *testing.T, before, after string) {
		if strings.Contains(before, secret) || strings.Contains(after, secret) {
			return
		}
		for _, form := range forms {
			if got := Scrub(before + " " + form + " " + after); strings.Contains(got, secret) {
				t.Errorf("Scrub(%q) tells the secret: %q", before+" "+form+" "+after, got)
			}
		}
		if got := Scrub(before); utf8.ValidString(before) && !utf8.ValidString(got) {
			t.Errorf("Scrub(%q) = %q, want valid UTF-8", before, got)
		}
	})
}
