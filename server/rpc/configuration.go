package rpc

import (
	"context"

	pb "github.com/tocsin-oncall/tocsin/api/tocsin/v1"
	"github.com/tocsin-oncall/tocsin/server/directory"
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
}

func (s *configuration) ApplyConfiguration(ctx context.Context, req *pb.ApplyConfigurationRequest) (*pb.ApplyConfigurationResponse, error) {
	kept := func(m *pb.ApplyConfigurationResponse) *pb.ApplyConfigurationResponse {
		return &pb.ApplyConfigurationResponse{Applied: m.GetApplied(), Changes: each(m.GetChanges(), func(c *pb.ApplyConfigurationResponse_Change) *pb.ApplyConfigurationResponse_Change {
			return &pb.ApplyConfigurationResponse_Change{Name: c.GetName(), Action: c.GetAction(), Fields: c.GetFields(), Warnings: c.GetWarnings()}
		})}
	}
	return configured(ctx, s.Server, req.GetRequestId(), kept, func() (*pb.ApplyConfigurationResponse, error) {
		items, err := s.c.Directory.ApplyDocument(ctx, callOf(ctx).by(), []byte(req.GetYaml()), directory.ApplyOptions{
			DryRun: req.GetValidateOnly(), Force: req.GetForce(),
		})
		if err != nil {
			return nil, inField("yaml", err)
		}
		return &pb.ApplyConfigurationResponse{Applied: !req.GetValidateOnly(), Changes: each(items, func(i directory.Item) *pb.ApplyConfigurationResponse_Change {
			return &pb.ApplyConfigurationResponse_Change{
				Name: i.Key.String(), Action: actions[i.Action], Fields: i.Fields, Key: i.Secret, Warnings: i.Warnings,
			}
		})}, nil
	})
}

func (s *configuration) ExportConfiguration(context.Context, *pb.ExportConfigurationRequest) (*pb.ExportConfigurationResponse, error) {
	text, err := s.c.Directory.Snapshot().Export()
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
