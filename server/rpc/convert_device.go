package rpc

import (
	"time"

	pb "github.com/tocsin-oncall/tocsin/api/tocsin/v1"
	"github.com/tocsin-oncall/tocsin/server/directory"
	"github.com/tocsin-oncall/tocsin/server/roster"
)

var deviceStates = map[roster.DeviceState]pb.Device_State{ //nolint:gochecknoglobals // look-up table
	roster.DeviceActive: pb.Device_STATE_ACTIVE, roster.DeviceUnverified: pb.Device_STATE_UNVERIFIED,
	roster.DeviceParked: pb.Device_STATE_PARKED, roster.DeviceDead: pb.Device_STATE_DEAD, roster.DeviceRevoked: pb.Device_STATE_REVOKED,
}

// healths are what is said of a device's health.
var healths = map[roster.Health]pb.Device_Health{ //nolint:gochecknoglobals // look-up table
	roster.HealthGreen: pb.Device_HEALTH_GREEN, roster.HealthAmber: pb.Device_HEALTH_AMBER, roster.HealthRed: pb.Device_HEALTH_RED,
}

func deviceMessage(d *directory.Device, w roster.Word, now time.Time) *pb.Device {
	health, why := d.Seen().Health(w, now)
	m := &pb.Device{
		Name: deviceName(d.ID), User: userName(d.User), DisplayName: d.Name, InstallId: d.Install, Platform: pb.Device_Platform(d.Platform),
		AppId: d.App, Environment: environment(d.Environment), SealKey: d.SealKey, SealKeyId: d.SealKeyID, UnlockKey: d.UnlockKey,
		Locale: d.Locale, TimeZone: d.Zone, AppVersion: d.AppVersion, OsVersion: d.OSVersion, Model: d.Model,
		Capabilities: capabilities(d.Can), Permission: pb.Device_Permission(d.Permission), State: deviceStates[d.State],
		StateReason: d.StateReason, Health: healths[health], HealthReason: why, CreateTime: stamp(d.Created), LastSeenTime: stamp(w.Seen),
		LastReceiptTime: stamp(w.Receipt), LastTestTime: stamp(w.Test), LastTestPassed: w.Passed,
		LastHeartbeatTime: stamp(w.Heartbeat), SealKeyFailedTime: stamp(d.SealFailed), Epoch: int32(d.Epoch), Etag: quote(d.ETag()), //nolint:gosec // counts revocations
	}
	if d.Address.Kind != 0 { // the address itself is never read back
		m.Address = &pb.Device_Address{Kind: pb.Device_Address_Kind(d.Address.Kind), Hint: d.Address.Hint, AddressTime: stamp(d.Address.At)}
	} else if d.State == roster.DeviceActive {
		m.State = pb.Device_STATE_UNVERIFIED
	}
	return m
}

func environment(e directory.Environment) pb.Device_Environment {
	if e == directory.Sandbox {
		return pb.Device_ENVIRONMENT_SANDBOX
	}
	return pb.Device_ENVIRONMENT_PRODUCTION
}

func environmentOf(e pb.Device_Environment) directory.Environment {
	if e == pb.Device_ENVIRONMENT_SANDBOX {
		return directory.Sandbox
	}
	return directory.Production
}

func capabilities(c directory.Capabilities) *pb.Device_Capabilities {
	return &pb.Device_Capabilities{
		Critical: c.Critical, TimeSensitive: c.TimeSensitive, FullScreen: c.FullScreen, DndBypass: c.DNDBypass, ChannelOk: c.ChannelOK,
		LiveActivity: c.LiveActivity, Actions: c.Actions, LockScreen: c.LockScreen, ScheduledSummary: c.ScheduledSummary,
		BatteryUnrestricted: c.BatteryUnrestricted, Alert: c.Alert, Sound: c.Sound,
	}
}

func capabilitiesOf(m *pb.Device_Capabilities) directory.Capabilities {
	return directory.Capabilities{
		Critical: m.GetCritical(), TimeSensitive: m.GetTimeSensitive(), FullScreen: m.GetFullScreen(), DNDBypass: m.GetDndBypass(),
		ChannelOK: m.GetChannelOk(), LiveActivity: m.GetLiveActivity(), Actions: m.GetActions(), LockScreen: m.GetLockScreen(),
		ScheduledSummary: m.GetScheduledSummary(), BatteryUnrestricted: m.GetBatteryUnrestricted(), Alert: m.GetAlert(), Sound: m.GetSound(),
	}
}

// deviceOf writes into d what a message says about the app; not its address,
// which has rules of its own.
func deviceOf(d *directory.Device, m *pb.Device, now time.Time) {
	d.Name, d.Install, d.Platform = m.GetDisplayName(), m.GetInstallId(), roster.Platform(m.GetPlatform()) //nolint:gosec // checked by the rules
	d.App, d.Environment = m.GetAppId(), environmentOf(m.GetEnvironment())
	d.SetSealKey(m.GetSealKey(), m.GetSealKeyId(), now)
	d.UnlockKey = m.GetUnlockKey()
	d.Locale, d.Zone, d.AppVersion, d.OSVersion, d.Model = m.GetLocale(), m.GetTimeZone(), m.GetAppVersion(), m.GetOsVersion(), m.GetModel()
	d.Can, d.Permission = capabilitiesOf(m.GetCapabilities()), directory.Permission(m.GetPermission()) //nolint:gosec // checked by the rules
	if d.Name == "" {
		d.Name = d.Model
	}
	if d.Name == "" {
		d.Name = [...]string{"Device", "iPhone", "Android phone", "Browser"}[min(int(d.Platform), 3)]
	}
}

// secretOf is the secret part of an address.
func secretOf(m *pb.Device_Address) directory.AddressSecret {
	return directory.AddressSecret{Value: m.GetValue(), P256dh: m.GetWebPushKey(), Auth: m.GetWebPushAuth()}
}
