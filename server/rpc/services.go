package rpc

import (
	"cmp"
	"context"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"

	pb "github.com/tocsin-oncall/tocsin/api/tocsin/v1"
	"github.com/tocsin-oncall/tocsin/server/auth"
	"github.com/tocsin-oncall/tocsin/server/catalog"
	"github.com/tocsin-oncall/tocsin/server/directory"
	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/ingest"
	"github.com/tocsin-oncall/tocsin/server/roster"
	"github.com/tocsin-oncall/tocsin/server/store"
)

// services is tocsin.v1.CatalogService.
type services struct {
	pb.UnimplementedCatalogServiceServer
	*Server
}

// read returns a service with how many of its incidents are open.
func (s *services) read(ctx context.Context, snap *directory.Snapshot, id catalog.ServiceID) (*pb.Service, error) {
	v, ok := snap.GetService(id)
	if !ok {
		return nil, missing("name", serviceName(id))
	}
	open, err := s.open(ctx, id)
	if err != nil {
		return nil, err
	}
	return serviceMessage(v, open), nil
}

// open counts the open incidents of a service, as far as a few pages reach.
func (s *services) open(ctx context.Context, id catalog.ServiceID) (int, error) {
	q := store.Query{Service: id, Statuses: []incident.Status{incident.Triggered, incident.Acknowledged}, PageSize: mostPage}
	n, next := 0, ""
	for range mostReads {
		page, err := s.c.Store.List(ctx, q, next)
		if err != nil {
			return 0, err
		}
		n += len(page.Incidents)
		if next = page.Next; next == "" {
			break
		}
	}
	return n, nil
}

func (s *services) GetService(ctx context.Context, req *pb.GetServiceRequest) (*pb.Service, error) {
	return s.read(ctx, s.c.Directory.Snapshot(), serviceID(req.GetName()))
}

func (s *services) ListServices(ctx context.Context, req *pb.ListServicesRequest) (*pb.ListServicesResponse, error) {
	team := roster.TeamID(last(req.GetTeam()))
	page, next, err := byNamePage(req, longPage, mostLong, s.c.Directory.Snapshot().Services(), func(v *directory.Service) bool {
		return team == "" || v.Team == team
	})
	if err != nil {
		return nil, err
	}
	counts, err := s.openOf(ctx, page)
	if err != nil {
		return nil, err
	}
	return &pb.ListServicesResponse{
		Services: each(page, func(v *directory.Service) *pb.Service { return serviceMessage(v, counts[v.ID]) }), NextPageToken: next,
	}, nil
}

// openOf counts the open incidents of several services in one walk over what is
// open, as far as a few pages reach: mostly little is.
func (s *services) openOf(ctx context.Context, page []*directory.Service) (map[catalog.ServiceID]int, error) {
	counts := make(map[catalog.ServiceID]int, len(page))
	if len(page) == 0 {
		return counts, nil
	}
	q := store.Query{Statuses: []incident.Status{incident.Triggered, incident.Acknowledged}, PageSize: mostPage}
	next := ""
	for range mostReads {
		list, err := s.c.Store.List(ctx, q, next)
		if err != nil {
			return nil, err
		}
		for _, in := range list.Incidents {
			counts[in.Service]++
		}
		if next = list.Next; next == "" {
			break
		}
	}
	return counts, nil
}

func (s *services) CreateService(ctx context.Context, req *pb.CreateServiceRequest) (*pb.Service, error) {
	return configured(ctx, s.Server, req.GetRequestId(), nil, func() (*pb.Service, error) {
		var id catalog.ServiceID
		snap, err := s.c.Directory.Change(ctx, callOf(ctx).by(), func(e *directory.Edit) error {
			id = catalog.ServiceID(freeID(e, directory.KindService, req.GetServiceId(), req.GetService().GetDisplayName()))
			return e.Create(serviceOf(id, req.GetService(), nil))
		})
		if err != nil {
			return nil, inField("service", err)
		}
		return s.read(ctx, snap, id)
	})
}

func (s *services) UpdateService(ctx context.Context, req *pb.UpdateServiceRequest) (*pb.Service, error) {
	id := serviceID(req.GetService().GetName())
	return configured(ctx, s.Server, req.GetRequestId(), nil, func() (*pb.Service, error) {
		snap, err := s.c.Directory.Change(ctx, callOf(ctx).by(), func(e *directory.Edit) error {
			old, ok := e.GetService(id)
			if !ok {
				return missing("service.name", serviceName(id))
			}
			m := serviceMessage(old, 0)
			if _, err := update(m, req.GetService(), req.GetUpdateMask()); err != nil {
				return err
			}
			return e.Update(serviceOf(id, m, old), unquote(req.GetService().GetEtag()))
		})
		if err != nil {
			return nil, inField("service", err)
		}
		return s.read(ctx, snap, id)
	})
}

func (s *services) DeleteService(ctx context.Context, req *pb.DeleteServiceRequest) (*emptypb.Empty, error) {
	return s.remove(ctx, req.GetRequestId(), directory.Key{Kind: directory.KindService, ID: last(req.GetName())}, req.GetEtag())
}

func (s *services) integration(snap *directory.Snapshot, id catalog.IntegrationID) (*pb.Integration, error) {
	i, ok := snap.GetIntegration(id)
	if !ok {
		return nil, missing("name", integrationName(id))
	}
	return integrationMessage(i), nil
}

func (s *services) GetIntegration(_ context.Context, req *pb.GetIntegrationRequest) (*pb.Integration, error) {
	return s.integration(s.c.Directory.Snapshot(), catalog.IntegrationID(last(req.GetName())))
}

func (s *services) ListIntegrations(_ context.Context, req *pb.ListIntegrationsRequest) (*pb.ListIntegrationsResponse, error) {
	service := serviceID(req.GetService())
	page, next, err := byNamePage(req, longPage, mostLong, s.c.Directory.Snapshot().Integrations(), func(i *directory.Integration) bool {
		return service == "" || i.Service == service
	})
	if err != nil {
		return nil, err
	}
	return &pb.ListIntegrationsResponse{Integrations: each(page, integrationMessage), NextPageToken: next}, nil
}

// checkSource refuses a source or a setting that nobody would understand.
func checkSource(source string, options map[string]string) error {
	if _, ok := ingest.Lookup(source); !ok {
		return fault.InvalidField("source", "there is no source %q; there are %s", source, strings.Join(ingest.Names(), ", "))
	}
	_, err := ingest.ParseOptions(options)
	return err
}

// uri is where the sender of an integration sends to.
func (s *services) uri(source, key string) string {
	base := strings.TrimSuffix(s.c.PublicURL, "/")
	if source == "pagerduty" {
		return base + "/v2/enqueue" // its key is in the body
	}
	return base + "/integrations/" + key + "/" + source
}

func (s *services) CreateIntegration(ctx context.Context, req *pb.CreateIntegrationRequest) (*pb.CreateIntegrationResponse, error) {
	kept := func(m *pb.CreateIntegrationResponse) *pb.CreateIntegrationResponse {
		return &pb.CreateIntegrationResponse{Integration: m.GetIntegration()}
	}
	return configured(ctx, s.Server, req.GetRequestId(), kept, func() (*pb.CreateIntegrationResponse, error) {
		want := req.GetIntegration()
		if err := checkSource(want.GetSource(), want.GetOptions()); err != nil {
			return nil, inField("integration", err)
		}
		id, key := catalog.IntegrationID(cmp.Or(req.GetIntegrationId(), auth.NewID())), auth.NewIntegrationKey()
		snap, err := s.c.Directory.Change(ctx, callOf(ctx).by(), func(e *directory.Edit) error {
			i := integrationOf(id, want, nil)
			i.SetKey(key)
			return e.Create(i)
		})
		if err != nil {
			return nil, inField("integration", err)
		}
		m, err := s.integration(snap, id)
		return &pb.CreateIntegrationResponse{Integration: m, Key: key, Uri: s.uri(want.GetSource(), key)}, err
	})
}

func (s *services) UpdateIntegration(ctx context.Context, req *pb.UpdateIntegrationRequest) (*pb.Integration, error) {
	id := catalog.IntegrationID(last(req.GetIntegration().GetName()))
	return configured(ctx, s.Server, req.GetRequestId(), nil, func() (*pb.Integration, error) {
		snap, err := s.c.Directory.Change(ctx, callOf(ctx).by(), func(e *directory.Edit) error {
			old, ok := e.GetIntegration(id)
			if !ok {
				return missing("integration.name", integrationName(id))
			}
			m, _ := proto.Clone(integrationMessage(old)).(*pb.Integration) // options are shared with the record
			if _, err := update(m, req.GetIntegration(), req.GetUpdateMask()); err != nil {
				return err
			}
			if err := checkSource(m.GetSource(), m.GetOptions()); err != nil {
				return err
			}
			return e.Update(integrationOf(id, m, old), unquote(req.GetIntegration().GetEtag()))
		})
		if err != nil {
			return nil, inField("integration", err)
		}
		return s.integration(snap, id)
	})
}

func (s *services) DeleteIntegration(ctx context.Context, req *pb.DeleteIntegrationRequest) (*emptypb.Empty, error) {
	return s.remove(ctx, req.GetRequestId(), directory.Key{Kind: directory.KindIntegration, ID: last(req.GetName())}, req.GetEtag())
}

func (s *services) RotateIntegrationKey(ctx context.Context, req *pb.RotateIntegrationKeyRequest) (*pb.RotateIntegrationKeyResponse, error) {
	kept := func(m *pb.RotateIntegrationKeyResponse) *pb.RotateIntegrationKeyResponse {
		return &pb.RotateIntegrationKeyResponse{Integration: m.GetIntegration()}
	}
	id := catalog.IntegrationID(last(req.GetName()))
	return configured(ctx, s.Server, req.GetRequestId(), kept, func() (*pb.RotateIntegrationKeyResponse, error) {
		key := auth.NewIntegrationKey()
		snap, err := s.c.Directory.Change(ctx, callOf(ctx).by(), func(e *directory.Edit) error {
			old, ok := e.GetIntegration(id)
			if !ok {
				return missing("name", integrationName(id))
			}
			i := *old
			i.SetKey(key)
			return e.Update(&i, unquote(req.GetEtag()))
		})
		if err != nil {
			return nil, err
		}
		m, err := s.integration(snap, id)
		return &pb.RotateIntegrationKeyResponse{Integration: m, Key: key, Uri: s.uri(m.GetSource(), key)}, err
	})
}
