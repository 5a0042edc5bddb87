package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	pb "github.com/tocsin-oncall/tocsin/api/tocsin/v1"
	"github.com/tocsin-oncall/tocsin/cmd/internal/lab"
	"github.com/tocsin-oncall/tocsin/server/civil"
	"github.com/tocsin-oncall/tocsin/server/directory"
	"github.com/tocsin-oncall/tocsin/server/roster"
	"github.com/tocsin-oncall/tocsin/server/schedule"
)

// The size of the company.
const (
	companyPeople    = 10_000
	companySchedules = 2_000 // of two layers, with a policy each
	companyServices  = 5_000
)

func turnScenes() []scene {
	return []scene{
		{name: "schedule", play: playSchedule, figures: []figure{
			atMost("oncall_point_query_us", 50, "µs", "who is on call at an instant, of ten layers in five zones with 20 overrides; nothing is remembered"),
			atMost("schedule_render_year_ms", 20, "ms", "a year of the same"),
		}},
		{name: "company", play: playCompany, figures: []figure{
			atMost("directory_load_ms", 1000, "ms", "10,000 people, 2,000 schedules with a policy each, 5,000 services, out of Redis"),
			atMost("directory_mb", 100, "MB", "what they take in memory"),
			atLeast("oncall_lookup_per_s", 1_000_000, "1/s", "who is on call now, one schedule of them after the other, on one core"),
			atMost("plan_ms", 3000, "ms", "the plan of their whole folder with one changed schedule, who is paged differently over 30 days included"),
			atMost("config_visible_ms", 200, "ms", "from the call that changes a service until another instance has it, the worst of 50"),
		}},
	}
}

// tenLayers is a schedule as large as they come: follow-the-sun regions, nights and
// weekends apart, eight people each.
func tenLayers() (*schedule.Resolver, time.Time, error) {
	start := time.Date(2026, 1, 6, 0, 0, 0, 0, time.UTC)
	zones := []string{"Europe/London", "America/New_York", "Australia/Sydney", "America/Santiago", "Asia/Kolkata"}
	s := schedule.Schedule{ID: "s", Name: "Large", Zone: zones[0]}
	for i := range 10 {
		l := schedule.Layer{
			ID: schedule.LayerID(fmt.Sprintf("l%d", i)), Priority: 10 - i, Zone: zones[i%len(zones)],
			Rotation: schedule.Rotation{Unit: schedule.Days, Length: 1, Anchor: civil.Time{Day: civil.Date(2026, 1, 5), Clock: 9 * time.Hour}},
		}
		for p := range 8 {
			l.Participants = append(l.Participants, roster.UserID(fmt.Sprintf("u%d-%d", i, p)))
		}
		switch {
		case i == 9: // the lowest has somebody always
		case i >= 5:
			l.Rotation.Unit, l.Rotation.Length = schedule.Hours, 12
			l.Restrictions = weekdays(18, 14, 6, 7)
		default:
			l.Restrictions = weekdays(8, 10, 1, 2, 3, 4, 5)
		}
		s.Layers = append(s.Layers, l)
	}
	for i := range 20 {
		from := start.Add(time.Duration(i) * 17 * 24 * time.Hour)
		s.Overrides = append(s.Overrides, schedule.Override{ID: schedule.OverrideID(fmt.Sprintf("o%02d", i)), Start: from, End: from.Add(7 * time.Hour), User: "stand-in"})
	}
	r, err := schedule.New(s, func(name string) (*time.Location, bool) {
		l, err := time.LoadLocation(name)
		return l, err == nil
	})
	return r, start, err
}

func playSchedule(_ context.Context, st *stage) error {
	r, start, err := tenLayers()
	if err != nil {
		return err
	}
	queries := st.some(100_000)
	began := time.Now()
	for i := range queries {
		r.At(start.Add(time.Duration(i%8760) * time.Hour))
	}
	st.measured("oncall_point_query_us", float64(time.Since(began).Microseconds())/float64(queries))
	years := st.some(50)
	began = time.Now()
	for range years {
		r.Render(start, start.Add(365*24*time.Hour))
	}
	st.measured("schedule_render_year_ms", ms(time.Since(began))/float64(years))
	return nil
}

// companyFolder is the company as a folder of files, the people first.
func companyFolder() ([]*pb.ConfigurationFile, error) {
	var people, rotas, services directory.Document
	for i := range companyPeople {
		id := fmt.Sprintf("user-%05d", i)
		people.People = append(people.People, directory.PersonDoc{ID: id, Name: id, Email: id + "@example.com"})
	}
	zones := []string{"Europe/Zurich", "America/New_York", "Asia/Kolkata", "Australia/Sydney"}
	for i := range companySchedules {
		id := fmt.Sprintf("team-%04d", i)
		var turns []string
		for k := range 6 {
			turns = append(turns, fmt.Sprintf("user-%05d", (i*5+k)%companyPeople))
		}
		rotas.Schedules = append(rotas.Schedules, directory.ScheduleDoc{ID: id, Name: id, TimeZone: zones[i%len(zones)], Layers: []directory.LayerDoc{
			{ID: "weeks", Rotation: directory.RotationDoc{Unit: "weeks", Handoff: "2026-01-05T09:00"}, Participants: turns},
			{
				ID: "days", Priority: 1, Rotation: directory.RotationDoc{Unit: "days", Handoff: "2026-01-05T09:00"}, Participants: turns[:3],
				Restrictions: []directory.RestrictionDoc{{Start: "09:00", Length: "8h"}},
			},
		}})
		rotas.Policies = append(rotas.Policies, directory.PolicyDoc{ID: id, Name: id, Levels: []directory.LevelDoc{{Targets: []string{"schedules/" + id}, Delay: "5m"}}})
	}
	for i := range companyServices {
		id := fmt.Sprintf("service-%04d", i)
		services.Services = append(services.Services, directory.ServiceDoc{ID: id, Name: id, Policy: fmt.Sprintf("team-%04d", i%companySchedules)})
	}
	var files []*pb.ConfigurationFile
	for _, part := range []struct {
		name string
		doc  directory.Document
	}{{"people.yaml", people}, {"schedules.yaml", rotas}, {"services.yaml", services}} {
		text, err := part.doc.YAML()
		if err != nil {
			return nil, err
		}
		files = append(files, &pb.ConfigurationFile{Name: part.name, Text: string(text)})
	}
	return files, nil
}

func playCompany(ctx context.Context, st *stage) error {
	files, err := companyFolder()
	if err != nil {
		return err
	}
	err = st.open(ctx, setting{organisation: lab.Organisation{Services: 1, People: 1, Devices: 1}, state: func(s *lab.Seed) error {
		for i := range files { // one change has its limit
			var some []directory.File
			for _, f := range files[:i+1] {
				some = append(some, directory.File{Name: f.GetName(), Text: []byte(f.GetText())})
			}
			if _, err := s.Directory.ApplyFiles(ctx, directory.ByServer("bench"), some, directory.ApplyOptions{Force: true, Owner: "company"}); err != nil {
				return fmt.Errorf("apply the company: %w", err)
			}
		}
		return nil
	}})
	if err != nil {
		return err
	}
	conn, err := grpc.NewClient("unix:"+st.lab.AdminSocket(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	st.closing(func() { _ = conn.Close() })
	if err := st.loadCompany(ctx); err != nil {
		return err
	}
	if err := st.planCompany(ctx, conn, files); err != nil {
		return err
	}
	return st.follow(ctx, conn)
}

// loadCompany reads the directory as an instance does that starts, and asks it
// who is on call.
func (st *stage) loadCompany(ctx context.Context) error {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	began := time.Now()
	seed, err := st.lab.Look(ctx)
	if err != nil {
		return err
	}
	took := time.Since(began)
	runtime.GC()
	runtime.ReadMemStats(&after)
	st.closing(seed.Close)
	snap := seed.Directory.Snapshot()
	if n := snap.Count(directory.KindSchedule); n != companySchedules {
		return fmt.Errorf("%d schedules were read, want %d", n, companySchedules)
	}
	st.measured("directory_load_ms", ms(took))
	st.measured("directory_mb", float64(after.HeapAlloc-before.HeapAlloc)/(1<<20))
	ids, now := make([]schedule.ID, companySchedules), time.Now()
	for i := range ids {
		ids[i] = schedule.ID(fmt.Sprintf("team-%04d", i))
		if _, ok := snap.Holder(ids[i], now); !ok { // compiles it
			return fmt.Errorf("nobody is on call in %s", ids[i])
		}
	}
	asked := st.some(2_000_000)
	began = time.Now()
	for i := range asked {
		snap.Holder(ids[i%len(ids)], now)
	}
	st.measured("oncall_lookup_per_s", float64(asked)/time.Since(began).Seconds())
	return nil
}

// planCompany plans the folder with one changed schedule.
func (st *stage) planCompany(ctx context.Context, conn *grpc.ClientConn, files []*pb.ConfigurationFile) error {
	changed := slices.Clone(files)
	text := strings.Replace(files[1].GetText(), "- user-00000\n", "- user-09999\n", 1)
	if text == files[1].GetText() {
		return errors.New("there is no schedule to change")
	}
	changed[1] = &pb.ConfigurationFile{Name: files[1].GetName(), Text: text}
	return st.profiled(ctx, func() error {
		began := time.Now()
		p, err := pb.NewConfigurationServiceClient(conn).PlanConfiguration(ctx, &pb.PlanConfigurationRequest{Files: changed, Owner: "company", Force: true},
			grpc.MaxCallRecvMsgSize(64<<20))
		if err != nil {
			return fmt.Errorf("plan the company: %w", err)
		}
		st.measured("plan_ms", ms(time.Since(began)))
		if len(p.GetPagingChanges()) == 0 {
			return errors.New("the plan says that nobody is paged differently")
		}
		return nil
	})
}

// follow changes a service again and again, and waits until a directory that
// follows the log as another instance does has each change.
func (st *stage) follow(ctx context.Context, conn *grpc.ClientConn) (err error) {
	ctx, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- st.look.Directory.Run(ctx) }() // read below
	defer func() {
		stop()
		err = errors.Join(err, <-ended)
	}()
	services, worst := pb.NewCatalogServiceClient(conn), 0.0
	for i := range 50 {
		name := fmt.Sprintf("Service %d", i)
		began := time.Now()
		if _, err := services.UpdateService(ctx, &pb.UpdateServiceRequest{Service: &pb.Service{Name: "services/service-0007", DisplayName: name}}); err != nil {
			return fmt.Errorf("change a service: %w", err)
		}
		for {
			if s, ok := st.look.Directory.Snapshot().GetService("service-0007"); ok && s.Name == name {
				break
			}
			select {
			case <-st.look.Directory.Moved():
			case <-time.After(10 * time.Second):
				return fmt.Errorf("change %d is not visible after 10 s", i)
			}
		}
		worst = max(worst, ms(time.Since(began)))
	}
	st.measured("config_visible_ms", worst)
	return nil
}

// weekdays are the same hours on some days, 1 Monday to 7 Sunday.
func weekdays(start, hours int, days ...int) []schedule.Restriction {
	all := make([]schedule.Restriction, len(days))
	for i, d := range days {
		all[i] = schedule.Restriction{Weekday: d, Start: time.Duration(start) * time.Hour, Length: time.Duration(hours) * time.Hour}
	}
	return all
}
