package rpc

import (
	"context"
	"time"

	pb "github.com/tocsin-oncall/tocsin/api/tocsin/v1"
	"github.com/tocsin-oncall/tocsin/server/directory"
	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/forecast"
)

// configuration is tocsin.v1.ConfigurationService.
type configuration struct {
	pb.UnimplementedConfigurationServiceServer
	*Server
}

var actions = map[directory.Action]pb.ApplyConfigurationResponse_Change_Action{ //nolint:gochecknoglobals // look-up table
	directory.Unchanged: pb.ApplyConfigurationResponse_Change_ACTION_NONE,
	directory.Created:   pb.ApplyConfigurationResponse_Change_ACTION_CREATE,
	directory.Updated:   pb.ApplyConfigurationResponse_Change_ACTION_UPDATE,
	directory.Deleted:   pb.ApplyConfigurationResponse_Change_ACTION_DELETE,
	directory.Orphaned:  pb.ApplyConfigurationResponse_Change_ACTION_ORPHAN,
}

func (s *configuration) ApplyConfiguration(ctx context.Context, req *pb.ApplyConfigurationRequest) (*pb.ApplyConfigurationResponse, error) {
	kept := func(m *pb.ApplyConfigurationResponse) *pb.ApplyConfigurationResponse {
		return &pb.ApplyConfigurationResponse{Applied: m.GetApplied(), Changes: each(m.GetChanges(), func(c *pb.ApplyConfigurationResponse_Change) *pb.ApplyConfigurationResponse_Change {
			return &pb.ApplyConfigurationResponse_Change{Name: c.GetName(), Action: c.GetAction(), Fields: c.GetFields(), Warnings: c.GetWarnings()}
		})}
	}
	return configured(ctx, s.Server, req.GetRequestId(), kept, func() (*pb.ApplyConfigurationResponse, error) {
		a, err := s.apply(ctx, req, directory.ApplyOptions{
			DryRun: req.GetValidateOnly(), Force: req.GetForce(), Owner: req.GetOwner(), Prune: req.GetPrune(), Take: req.GetTakeOver(), Revision: req.GetRevision(),
		})
		if err != nil {
			return nil, err
		}
		return &pb.ApplyConfigurationResponse{Applied: !req.GetValidateOnly(), Changes: each(a.Items, changeMessage)}, nil
	})
}

// document is a request that brings YAML.
type document interface {
	GetYaml() string
	GetFiles() []*pb.ConfigurationFile
}

func (s *configuration) apply(ctx context.Context, doc document, o directory.ApplyOptions) (directory.Applied, error) {
	files := each(doc.GetFiles(), func(f *pb.ConfigurationFile) directory.File {
		return directory.File{Name: f.GetName(), Text: []byte(f.GetText())}
	})
	if (doc.GetYaml() == "") == (len(files) == 0) {
		return directory.Applied{}, fault.InvalidField("yaml", "give either yaml or files")
	}
	if len(files) > 0 {
		return s.c.Directory.ApplyFiles(ctx, callOf(ctx).by(), files, o)
	}
	a, err := s.c.Directory.ApplyFiles(ctx, callOf(ctx).by(), []directory.File{{Text: []byte(doc.GetYaml())}}, o)
	if err != nil {
		return directory.Applied{}, inField("yaml", err)
	}
	return a, nil
}

func changeMessage(i directory.Item) *pb.ApplyConfigurationResponse_Change {
	return &pb.ApplyConfigurationResponse_Change{
		Name: i.Key.String(), Action: actions[i.Action], Fields: i.Fields, Key: i.Secret, Warnings: i.Warnings, ChangedByHandTime: stamp(i.ByHand),
	}
}

// The window of a plan, and how much of it is told.
const (
	planWindow   = 30 * 24 * time.Hour
	maxPaging    = 500
	maxStretches = 100
)

func (s *configuration) PlanConfiguration(ctx context.Context, req *pb.PlanConfigurationRequest) (*pb.PlanConfigurationResponse, error) {
	a, err := s.apply(ctx, req, directory.ApplyOptions{
		DryRun: true, Force: req.GetForce(), Owner: req.GetOwner(), Prune: req.GetPrune(), Take: req.GetTakeOver(),
	})
	if err != nil {
		return nil, err
	}
	from := s.c.Now().UTC().Truncate(time.Second)
	to := from.Add(planWindow)
	paging := forecast.Compare(a.Before, a.After, from, to)
	told := paging[:min(len(paging), maxPaging)]
	return &pb.PlanConfigurationResponse{
		Changes: each(a.Items, changeMessage), PagingChanges: each(told, pagingMessage),
		MorePagingChanges: int32(len(paging) - len(told)), //nolint:gosec // a count of services
		Revision:          a.Before.Position(), WindowStartTime: stamp(from), WindowEndTime: stamp(to),
	}, nil
}

func pagingMessage(c forecast.Change) *pb.PlanConfigurationResponse_PagingChange {
	told := c.Stretches[:min(len(c.Stretches), maxStretches)]
	return &pb.PlanConfigurationResponse_PagingChange{
		Services: each(c.Services, serviceName), Level: int32(c.Level), //nolint:gosec // at most 20
		MoreStretches: int32(len(c.Stretches) - len(told)), //nolint:gosec // a count of hand-offs
		Stretches: each(told, func(s forecast.Stretch) *pb.PlanConfigurationResponse_PagingChange_Stretch {
			return &pb.PlanConfigurationResponse_PagingChange_Stretch{
				StartTime: stamp(s.Start), EndTime: stamp(s.End), Before: each(s.Before, userName), After: each(s.After, userName),
			}
		}),
	}
}

func (s *configuration) ExportConfiguration(_ context.Context, req *pb.ExportConfigurationRequest) (*pb.ExportConfigurationResponse, error) {
	snap := s.c.Directory.Snapshot()
	if req.GetSplit() {
		files, err := snap.ExportFiles()
		if err != nil {
			return nil, err
		}
		return &pb.ExportConfigurationResponse{Files: each(files, func(f directory.File) *pb.ConfigurationFile {
			return &pb.ConfigurationFile{Name: f.Name, Text: string(f.Text)}
		})}, nil
	}
	text, err := snap.Export()
	if err != nil {
		return nil, err
	}
	return &pb.ExportConfigurationResponse{Yaml: string(text)}, nil
}

func (s *configuration) GetSettings(context.Context, *pb.GetSettingsRequest) (*pb.Settings, error) {
	return settingsMessage(s.c.Directory.Snapshot().GetSettings()), nil
}

func (s *configuration) UpdateSettings(ctx context.Context, req *pb.UpdateSettingsRequest) (*pb.Settings, error) {
	return configured(ctx, s.Server, req.GetRequestId(), nil, func() (*pb.Settings, error) {
		snap, err := s.c.Directory.Change(ctx, callOf(ctx).by(), func(e *directory.Edit) error {
			old := e.GetSettings()
			m := settingsMessage(old)
			if _, err := update(m, req.GetSettings(), req.GetUpdateMask()); err != nil {
				return err
			}
			return e.Update(settingsOf(m, old), unquote(req.GetSettings().GetEtag()))
		})
		if err != nil {
			return nil, inField("settings", err)
		}
		return settingsMessage(snap.GetSettings()), nil
	})
}
