package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/tocsin-oncall/tocsin/api/schema"
	api "github.com/tocsin-oncall/tocsin/api/tocsin/v1"
	"github.com/tocsin-oncall/tocsin/server/auth"
)

type applyCmd struct {
	connection
	output
	source
	Plan   string `placeholder:"FILE" help:"Carry out the plan that tocsin plan --out wrote, and nothing else; refused if the configuration has changed since."`
	DryRun bool   `help:"Check and show what would change, and change nothing."`
	All    bool   `help:"Show what stays as it is, too."`
}

// Run applies a configuration.
func (c *applyCmd) Run(ctx context.Context, s *session, g *grammar) error {
	request, err := c.what()
	if err != nil {
		return err
	}
	request.ValidateOnly, request.RequestId = c.DryRun, uuid.NewString()
	return c.call(ctx, s, g, func(ctx context.Context, conn *grpc.ClientConn) error {
		r, err := api.NewConfigurationServiceClient(conn).ApplyConfiguration(ctx, request)
		if err != nil {
			return err
		}
		if c.json() {
			return s.printJSON(r)
		}
		c.print(s, r)
		return nil
	})
}

// what returns the plan, or the files, that are to be applied.
func (c *applyCmd) what() (*api.ApplyConfigurationRequest, error) {
	if c.Plan == "" {
		return c.request()
	}
	if c.source != (source{}) {
		return nil, usageError{errors.New("--plan says everything: leave out folder, file, --owner, --prune, --take-over and --force")}
	}
	return readPlan(c.Plan)
}

var changeSigns = map[api.ApplyConfigurationResponse_Change_Action]string{ //nolint:gochecknoglobals // look-up table
	api.ApplyConfigurationResponse_Change_ACTION_CREATE: "+",
	api.ApplyConfigurationResponse_Change_ACTION_UPDATE: "~",
	api.ApplyConfigurationResponse_Change_ACTION_DELETE: "-",
	api.ApplyConfigurationResponse_Change_ACTION_NONE:   "=",
	api.ApplyConfigurationResponse_Change_ACTION_ORPHAN: "?",
}

// counts is how many records each action is for.
type counts map[api.ApplyConfigurationResponse_Change_Action]int

func (c counts) String() string {
	text := fmt.Sprintf("%d new, %d changed, %d removed, %d as they were", c[api.ApplyConfigurationResponse_Change_ACTION_CREATE],
		c[api.ApplyConfigurationResponse_Change_ACTION_UPDATE], c[api.ApplyConfigurationResponse_Change_ACTION_DELETE], c[api.ApplyConfigurationResponse_Change_ACTION_NONE])
	if n := c[api.ApplyConfigurationResponse_Change_ACTION_ORPHAN]; n > 0 {
		text += fmt.Sprintf(", %d no longer declared (--prune deletes them)", n)
	}
	return text
}

func (c *applyCmd) print(s *session, r *api.ApplyConfigurationResponse) {
	count := s.printChanges(r.GetChanges(), c.All)
	verb := "Applied"
	if !r.GetApplied() {
		verb = "Nothing was changed. Applying this would make"
	}
	fmt.Fprintf(s.out, "%s: %s.\n", verb, count)
	for _, ch := range r.GetChanges() {
		if ch.GetKey() != "" {
			fmt.Fprintln(s.out, "Keep the keys: they are shown this once.")
			return
		}
	}
}

// printChanges shows what happens to each record, and counts it.
func (s *session) printChanges(changes []*api.ApplyConfigurationResponse_Change, all bool) counts {
	count := counts{}
	for _, ch := range changes {
		count[ch.GetAction()]++
		if ch.GetAction() == api.ApplyConfigurationResponse_Change_ACTION_NONE && !all {
			continue
		}
		fmt.Fprintf(s.out, "%s %s\n", cmp.Or(changeSigns[ch.GetAction()], "~"), clean(ch.GetName()))
		for _, line := range detail(ch, s.zone) {
			fmt.Fprintf(s.out, "    %s\n", clean(line))
		}
		if ch.GetKey() != "" {
			fmt.Fprintf(s.out, "    key: %s\n", clean(ch.GetKey()))
		}
	}
	return count
}

// changeWord says an action where signs are not known.
func changeWord(c *api.ApplyConfigurationResponse_Change) string {
	return cmp.Or(word(c.GetAction()), "change")
}

// detail says what is to be known about one change, a line each.
func detail(c *api.ApplyConfigurationResponse_Change, zone *time.Location) []string {
	var lines []string
	if c.GetAction() == api.ApplyConfigurationResponse_Change_ACTION_UPDATE { // of a new one, all fields are new
		lines = append(lines, c.GetFields()...)
	}
	if at := c.GetChangedByHandTime(); at != nil {
		lines = append(lines, "was changed by hand, last on "+day(at, zone))
	}
	if c.GetAction() == api.ApplyConfigurationResponse_Change_ACTION_ORPHAN {
		lines = append(lines, "is no longer declared, and stays without --prune")
	}
	for _, w := range c.GetWarnings() {
		lines = append(lines, "warning: "+w)
	}
	return lines
}

// schemaName is the file beside exported files by which editors complete them.
const schemaName = "tocsin.schema.json"

// schemaLine is the first line of what is exported: it tells an editor of the schema.
const schemaLine = "# yaml-language-server: $schema=" + schemaName + "\n"

type exportCmd struct {
	connection
	Dir string `placeholder:"DIR" help:"Write one file for each kind into this folder, instead of printing one document."`
}

// Run prints the configuration as YAML, or writes it.
func (c *exportCmd) Run(ctx context.Context, s *session, g *grammar) error {
	return c.call(ctx, s, g, func(ctx context.Context, conn *grpc.ClientConn) error {
		r, err := api.NewConfigurationServiceClient(conn).ExportConfiguration(ctx, &api.ExportConfigurationRequest{Split: c.Dir != ""})
		if err != nil {
			return err
		}
		if c.Dir == "" {
			_, err = io.WriteString(s.out, schemaLine+r.GetYaml())
			return err
		}
		if err := writeFolder(c.Dir, r.GetFiles(), schemaLine); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(c.Dir, schemaName), schema.Document, 0o600); err != nil {
			return fmt.Errorf("write --dir: %w", err)
		}
		fmt.Fprintf(s.out, "%d files are in %s. Take it over with tocsin apply %s.\n", len(r.GetFiles()), c.Dir, c.Dir)
		return nil
	})
}

type tokenCmd struct {
	Create tokenCreateCmd `cmd:"" help:"Make a token; it is shown once."`
	List   tokenListCmd   `cmd:"" help:"List tokens."`
	Revoke tokenRevokeCmd `cmd:"" help:"Make a token worthless, at once."`
}

type tokenCreateCmd struct {
	connection
	output
	Name    string   `arg:"" help:"What it is for: nightly export, Ann's laptop."`
	User    string   `short:"u" placeholder:"ID" help:"Acts as this person."`
	Role    string   `placeholder:"ROLE" help:"Acts as a service account of this role: admin, responder or stakeholder."`
	Scope   []string `placeholder:"SCOPE" enum:"read,respond,configure,operate" help:"Only for this: read, respond, configure, operate. Default: all that its role may."`
	Expires string   `default:"90d" placeholder:"TIME" help:"Time until it expires, such as 12h or 90d; never for a token without an end. Default: 90d."`
}

// Run makes a token.
func (c *tokenCreateCmd) Run(ctx context.Context, s *session, g *grammar) error {
	if (c.User == "") == (c.Role == "") {
		return usageError{errors.New("say whom the token acts as: --user, or --role for a service account; not both")}
	}
	role, ok := api.Role_value["ROLE_"+upper(c.Role)]
	if c.Role != "" && (!ok || role == 0) {
		return usageError{fmt.Errorf("--role: must be admin, responder or stakeholder, not %q", c.Role)}
	}
	token := &api.Token{DisplayName: c.Name, Role: api.Role(role)}
	if c.User != "" {
		token.User = named("users/", []string{c.User})[0]
	}
	for _, scope := range c.Scope {
		token.Scopes = append(token.Scopes, api.Token_Scope(api.Token_Scope_value["SCOPE_"+upper(scope)]))
	}
	if c.Expires != "never" {
		d, err := parseSpan(c.Expires)
		if err != nil {
			return usageError{fmt.Errorf("--expires: %w", err)}
		}
		token.ExpireTime = timestamppb.New(s.now().Add(d))
	}
	return c.call(ctx, s, g, func(ctx context.Context, conn *grpc.ClientConn) error {
		r, err := api.NewTokenServiceClient(conn).CreateToken(ctx, &api.CreateTokenRequest{Token: token, RequestId: uuid.NewString()})
		if err != nil {
			return err
		}
		if c.json() {
			return s.printJSON(r)
		}
		fmt.Fprintf(s.out, "%s\n\n", clean(r.GetSecret()))
		t := s.facts()
		t.fact("id", id(r.GetToken().GetName()))
		t.fact("acts as", actsAs(r.GetToken()))
		t.fact("scopes", scopes(r.GetToken()))
		t.fact("expires", s.when(r.GetToken().GetExpireTime()))
		if err := t.flush(); err != nil {
			return err
		}
		fmt.Fprintln(s.out, "\nKeep it: it is shown this once. Use it as TOCSIN_TOKEN, or in HTTP as Authorization: Bearer.")
		return nil
	})
}

func actsAs(t *api.Token) string {
	if t.GetUser() != "" {
		return id(t.GetUser())
	}
	return strings.TrimSpace("service account, " + word(t.GetRole()))
}

func scopes(t *api.Token) string {
	var words []string
	for _, s := range t.GetScopes() {
		words = append(words, word(s))
	}
	if len(words) == 0 {
		return "all of its role"
	}
	return strings.Join(words, ", ")
}

type tokenListCmd struct {
	connection
	output
	User string `short:"u" placeholder:"ID" help:"Only of this person."`
	All  bool   `help:"Expired and revoked ones, too."`
}

// Run lists tokens.
func (c *tokenListCmd) Run(ctx context.Context, s *session, g *grammar) error {
	r := &api.ListTokensRequest{PageSize: 200, ShowExpired: c.All}
	if c.User != "" {
		r.User = named("users/", []string{c.User})[0]
	}
	return c.call(ctx, s, g, func(ctx context.Context, conn *grpc.ClientConn) error {
		all := &api.ListTokensResponse{}
		for {
			page, err := api.NewTokenServiceClient(conn).ListTokens(ctx, r)
			if err != nil {
				return err
			}
			all.Tokens = append(all.Tokens, page.GetTokens()...)
			if r.PageToken = page.GetNextPageToken(); r.GetPageToken() == "" {
				break
			}
		}
		if c.json() {
			return s.printJSON(all)
		}
		if len(all.GetTokens()) == 0 {
			fmt.Fprintln(s.out, "No tokens.")
			return nil
		}
		t := s.table("ID", "FOR", "ACTS AS", "SCOPES", "ENDS WITH", "EXPIRES")
		for _, k := range all.GetTokens() {
			t.row(id(k.GetName()), cut(clean(k.GetDisplayName()), 40), actsAs(k), scopes(k), k.GetHint(), s.end(k))
		}
		return t.flush()
	})
}

func (s *session) end(t *api.Token) string {
	switch {
	case t.GetRevokeTime() != nil:
		return "revoked " + s.at(t.GetRevokeTime())
	case t.GetExpireTime() == nil:
		return "never"
	default:
		return s.when(t.GetExpireTime())
	}
}

type tokenRevokeCmd struct {
	connection
	ID []string `arg:"" name:"id" help:"Ids, as token list shows them."`
}

// Run revokes tokens.
func (c *tokenRevokeCmd) Run(ctx context.Context, s *session, g *grammar) error {
	return c.call(ctx, s, g, func(ctx context.Context, conn *grpc.ClientConn) error {
		for _, name := range named("tokens/", c.ID) {
			t, err := api.NewTokenServiceClient(conn).RevokeToken(ctx, &api.RevokeTokenRequest{Name: name})
			if err != nil {
				return fmt.Errorf("revoke %s: %w", id(name), err)
			}
			fmt.Fprintf(s.out, "%s (%s) is revoked.\n", id(t.GetName()), clean(t.GetDisplayName()))
		}
		return nil
	})
}

type enrolCmd struct {
	connection
	output
	User string `arg:"" help:"Id of the person whose phone it will be; me is you."`
	QR   bool   `name:"qr" default:"true" negatable:"" help:"Draw the QR code."`
	PNG  string `name:"png" placeholder:"FILE" help:"Write the QR code to a PNG file instead of drawing it."`
}

// Run makes an enrolment link.
func (c *enrolCmd) Run(ctx context.Context, s *session, g *grammar) error {
	return c.call(ctx, s, g, func(ctx context.Context, conn *grpc.ClientConn) error {
		e, err := api.NewDeviceServiceClient(conn).CreateEnrolment(ctx, &api.CreateEnrolmentRequest{
			User: named("users/", []string{c.User})[0], RequestId: uuid.NewString(),
		})
		if err != nil {
			return err
		}
		if c.json() {
			return s.printJSON(e)
		}
		fmt.Fprintf(s.out, "A phone for %s: scan this with its camera, or open the link on it.\n\n", clean(display(e.GetUserDisplayName(), e.GetUser())))
		if err := c.draw(s, e); err != nil {
			return err
		}
		fmt.Fprintf(s.out, "%s\n\nIt works once, until %s. Who has it can answer pages in this name: show it to nobody else.\n",
			clean(e.GetUri()), s.when(e.GetExpireTime()))
		return nil
	})
}

func (c *enrolCmd) draw(s *session, e *api.Enrolment) error {
	if c.PNG != "" {
		image, err := auth.QRPNG(e.GetQrPayload())
		if err != nil {
			return err
		}
		if err := os.WriteFile(c.PNG, image, 0o600); err != nil {
			return fmt.Errorf("write --png: %w", err)
		}
		fmt.Fprintf(s.out, "The code is in %s.\n\n", c.PNG)
		return nil
	}
	if !c.QR {
		return nil
	}
	text, err := auth.QRText(e.GetQrPayload())
	if err != nil {
		return err
	}
	fmt.Fprintln(s.out, text)
	return nil
}

func upper(s string) string { return strings.ToUpper(s) }

// parseSpan is time.ParseDuration with whole days: 90d.
func parseSpan(text string) (time.Duration, error) {
	var days int
	if n, err := fmt.Sscanf(text, "%dd", &days); err == nil && n == 1 && days > 0 && fmt.Sprintf("%dd", days) == text {
		return time.Duration(days) * 24 * time.Hour, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 {
		return 0, fmt.Errorf("write a time such as 12h or 90d instead of %q", text)
	}
	return d, nil
}
