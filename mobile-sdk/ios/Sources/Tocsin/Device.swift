import Foundation

/// What the app knows of itself and of the phone: everything that the server is told of it.
public struct DeviceProfile: Sendable, Equatable {
    /// Which of Apple's two push services the app was built for.
    public enum Environment: String, Sendable {
        /// TestFlight and the store.
        case production = "ENVIRONMENT_PRODUCTION"
        /// Run from a developer's machine.
        case sandbox = "ENVIRONMENT_SANDBOX"
    }

    /// The bundle id; the server has to be configured to push to it.
    public var appID: String
    public var environment: Environment
    /// The device token, as the system gives it; nil until it has. Without it the phone is not paged.
    public var token: Data?
    /// "Ann's iPhone"; at most 100 characters.
    public var displayName: String
    /// As BCP 47: "de-CH".
    public var locale: String
    /// As IANA names it: "Europe/Zurich".
    public var timeZone: String
    public var appVersion: String
    public var osVersion: String
    /// "iPhone17,1".
    public var model: String
    public var settings: AlertSettings

    public init(
        appID: String, environment: Environment = .production, token: Data? = nil, displayName: String = "", locale: String = "",
        timeZone: String = TimeZone.current.identifier, appVersion: String = "", osVersion: String = "", model: String = "",
        settings: AlertSettings = AlertSettings()
    ) {
        self.appID = appID
        self.environment = environment
        self.token = token
        self.displayName = displayName
        self.locale = locale
        self.timeZone = timeZone
        self.appVersion = appVersion
        self.osVersion = osVersion
        self.model = model
        self.settings = settings
    }

    /// What it is in a request, without names, keys and the install id.
    var json: [String: JSON?] {
        let address: JSON? = token.map { token in
            ["kind": "KIND_APNS", "value": JSON(token.map { byte in (byte < 16 ? "0" : "") + String(byte, radix: 16) }.joined())]
        }
        func cut(_ text: String, _ most: Int) -> JSON { JSON(String(String.UnicodeScalarView(text.unicodeScalars.prefix(most)))) }
        var fields: [String: JSON?] = [
            "platform": "PLATFORM_IOS", "appId": JSON(appID), "environment": JSON(environment.rawValue), "address": address,
            // Cut to what the server takes: no long name may cost the registration.
            "displayName": cut(displayName, 100), "locale": cut(locale, 35), "timeZone": cut(timeZone, 64), "appVersion": cut(appVersion, 32),
            "osVersion": cut(osVersion, 32), "model": cut(model, 64),
        ]
        fields.merge(settings.json) { $1 }
        return fields
    }
}

/// What the system lets the app do, as the person has set it. Read it back from
/// the system and report it as it changes: a phone that may not notify is not counted on.
public struct AlertSettings: Sendable, Equatable {
    /// Whether the person has allowed notifications.
    public enum Permission: String, Sendable {
        case granted = "PERMISSION_GRANTED"
        case denied = "PERMISSION_DENIED"
        case notDetermined = "PERMISSION_NOT_DETERMINED"
        /// Delivered without sound or banner: it cannot wake anybody.
        case provisional = "PERMISSION_PROVISIONAL"
    }

    public var permission: Permission
    /// May sound through silence and do not disturb.
    public var critical: Bool
    /// May break through a focus.
    public var timeSensitive: Bool
    /// Shows banners, not only the list.
    public var alert: Bool
    /// Makes sounds at all.
    public var sound: Bool
    /// Shows notifications on the lock screen.
    public var lockScreen: Bool
    /// Collects notifications into a summary: pages may come late.
    public var scheduledSummary: Bool

    public init(
        permission: Permission = .notDetermined, critical: Bool = false, timeSensitive: Bool = false, alert: Bool = false,
        sound: Bool = false, lockScreen: Bool = false, scheduledSummary: Bool = false
    ) {
        self.permission = permission
        self.critical = critical
        self.timeSensitive = timeSensitive
        self.alert = alert
        self.sound = sound
        self.lockScreen = lockScreen
        self.scheduledSummary = scheduledSummary
    }

    /// What keeps a page from waking the person, for the app to explain; empty when nothing does.
    public var obstacles: [Obstacle] {
        switch permission {
        case .denied: return [.permissionDenied]
        case .notDetermined: return [.permissionNotAsked]
        case .provisional: return [.deliveredQuietly]
        case .granted: break
        }
        var found: [Obstacle] = []
        if !sound { found.append(.noSound) }
        if !alert { found.append(.noBanner) }
        if !lockScreen { found.append(.notOnLockScreen) }
        if !critical && !timeSensitive { found.append(.heldByFocus) }
        if scheduledSummary && !critical && !timeSensitive { found.append(.collected) }
        return found
    }

    /// A setting that is in the way.
    public enum Obstacle: String, Sendable {
        case permissionDenied, permissionNotAsked, deliveredQuietly, noSound, noBanner, notOnLockScreen, heldByFocus, collected
    }

    var json: [String: JSON?] {
        [
            "permission": JSON(permission.rawValue),
            "capabilities": [
                "critical": JSON(critical), "timeSensitive": JSON(timeSensitive), "alert": JSON(alert), "sound": JSON(sound),
                "lockScreen": JSON(lockScreen), "scheduledSummary": JSON(scheduledSummary), "actions": true,
            ],
        ]
    }
}

/// The phone's record at the server.
public struct Device: Sendable, Equatable {
    /// Whether it can be paged.
    public enum State: String, Sendable {
        case active = "STATE_ACTIVE"
        /// It has no proven address yet, or was not heard of for long.
        case unverified = "STATE_UNVERIFIED"
        /// The push service doubts its address: register.
        case parked = "STATE_PARKED"
        /// The push service says that the app is gone: register.
        case dead = "STATE_DEAD"
        case revoked = "STATE_REVOKED"
        case unknown = ""
    }

    /// Whether it would be reached tonight.
    public enum Health: String, Sendable {
        case green = "HEALTH_GREEN"
        case amber = "HEALTH_AMBER"
        case red = "HEALTH_RED"
        case unknown = ""
    }

    /// `devices/{device}`.
    public let name: String
    /// `users/{user}`.
    public let user: String
    public let displayName: String
    public let state: State
    public let stateReason: String
    public let health: Health
    /// What keeps it from being green and what helps, in one sentence.
    public let healthReason: String
    /// Whether its last visible test was passed, and when that was.
    public let lastTestPassed: Bool
    public let lastTestTime: Date?
    public let lastReceiptTime: Date?
    let sealKeyFailed: Bool

    init(_ json: JSON) {
        name = json["name"].string
        user = json["user"].string
        displayName = json["displayName"].string
        state = json["state"].word(or: .unknown)
        stateReason = json["stateReason"].string
        health = json["health"].word(or: .unknown)
        healthReason = json["healthReason"].string
        lastTestPassed = json["lastTestPassed"].bool
        lastTestTime = json["lastTestTime"].date
        lastReceiptTime = json["lastReceiptTime"].date
        sealKeyFailed = json["sealKeyFailedTime"].date != nil
    }
}

/// What became of a registration.
public struct Registration: Sendable, Equatable {
    public let device: Device
    /// The address was another person's: a push with a ``Push/nonce`` follows. Until
    /// ``Phone/confirmAddress(nonce:)`` the phone is not paged; say so.
    public let needsConfirmation: Bool
}
