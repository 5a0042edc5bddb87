import Foundation
import Testing
import TocsinTesting

@testable import Tocsin

/// A real server, with Apple's push service simulated: `go run ./cmd/sandbox`.
/// Where it is, is in the environment: the line that it prints.
struct Sandbox: Sendable {
    private let places: JSON
    /// Past the line; a server that was started anew is elsewhere.
    private let direct: Locked<String>
    private let gateway: Gateway

    static let current = ProcessInfo.processInfo.environment["TOCSIN_SANDBOX"].flatMap { Sandbox($0) }

    private init?(_ line: String) {
        guard let json = try? JSON(Data(line.utf8)), json["server"].text != nil else { return nil }
        places = json
        direct = Locked(json["direct"].string)
        let clock = ServerClock(system: .system, storage: MemoryStorage())
        gateway = Gateway(transport: HTTPTransport(), system: .system, clock: clock, agent: "test")
    }

    private func ask(_ method: String, _ part: String, _ path: String, _ body: JSON? = nil, bearer: String? = nil) async throws -> JSON {
        let server = try #require(URL(string: part == "direct" ? direct.with { $0 } : places[part].string))
        return try await gateway.answer(Call(method: method, path: path, body: body, bearer: bearer, timeout: 40), at: server)
    }

    /// A call as administrator, past the line.
    func admin(_ method: String, _ path: String, _ body: JSON? = nil) async throws -> JSON {
        try await ask(method, "direct", path, body, bearer: places["token"].string)
    }

    func invitation(_ user: String) async throws -> Invitation {
        try Invitation(try await ask("POST", "control", "/enrolments", ["user": JSON(user)])["uri"].string)
    }

    func alert(_ service: String, _ key: String, _ action: String = "trigger") async throws {
        _ = try await ask("POST", "control", "/alerts", ["service": JSON(service), "key": JSON(key), "action": JSON(action), "summary": JSON(key)])
    }

    /// How the line between phones and the server is.
    func line(_ mode: String, status: Int64? = nil, path: String = "", times: Int64? = nil) async throws {
        _ = try await ask(
            "POST", "control", "/line",
            .fields(["mode": JSON(mode), "status": status.map { JSON($0) }, "path": JSON(path), "times": times.map { JSON($0) }]))
    }

    func restart() async throws {
        let place = try await ask("POST", "control", "/server", ["do": "restart"])["direct"].string
        direct.with { $0 = place }
    }

    func revoke(_ device: String) async throws {
        _ = try await ask("POST", "control", "/\(device)/revoke", [:])
    }

    /// A token of Apple's for a phone that is nothing but a token.
    func token() async throws -> Data {
        let made = try await ask("POST", "apns", "/api/phones", ["name": JSON("iphone-" + UUID().uuidString.lowercased().prefix(8))])
        let digits = Array(made["token"].string)
        return Data(stride(from: 0, to: digits.count, by: 2).compactMap { UInt8(String(digits[$0...$0 + 1]), radix: 16) })
    }

    /// The first push to a token that is wanted, among those that came and those that come within 30 s.
    func push(to token: Data, _ isWanted: @Sendable (Push) -> Bool) async throws -> Push {
        let name = token.map { String($0 >> 4, radix: 16) + String($0 & 15, radix: 16) }.joined()
        var after: Int64 = 0
        for _ in 0..<30 {
            let page = try await ask("GET", "apns", "/api/requests?after=\(after)&limit=200&wait=1s")
            for request in page["requests"].array where request["token"].string == name && request["status"].int == 200 {
                if let push = Push(request["body"]), isWanted(push) { return push }
            }
            after = max(after, page["next"].int)
        }
        throw PhoneError(.retry, PhoneError.noAnswer, "no such push came to \(name)")
    }
}

/// A phone of one person at the sandbox, with its files in a folder of its own.
struct Handset: Sendable {
    let folder: URL
    let secrets = MemorySecrets()
    let unlockKey = TestUnlockKey()
    let token: Data
    let sandbox: Sandbox
    let system: SystemClock

    init(_ sandbox: Sandbox, skew: TimeInterval = 0, in parent: URL = FileManager.default.temporaryDirectory) async throws {
        self.sandbox = sandbox
        folder = parent.appendingPathComponent("tocsin-" + UUID().uuidString)
        token = try await sandbox.token()
        var system = SystemClock.system
        system.now = { Date().addingTimeInterval(skew) }
        self.system = system
    }

    /// The app, started. What it was before is as good as killed: all it has is in its folder.
    func start() throws -> Phone {
        Phone(
            app: "com.example.oncall/1.0", os: "18.1", storage: try Folder(folder), secrets: secrets, crypto: TestCrypto(), unlockKey: unlockKey,
            clock: system)
    }

    var profile: DeviceProfile {
        DeviceProfile(
            appID: "com.example.oncall", token: token, displayName: "Test phone", locale: "en", appVersion: "1.0", osVersion: "18.1",
            model: "iPhone17,1",
            settings: AlertSettings(permission: .granted, critical: true, timeSensitive: true, alert: true, sound: true, lockScreen: true))
    }

    func enrolled(_ user: String) async throws -> Phone {
        let phone = try start()
        _ = try await phone.enrol(try await sandbox.invitation(user), as: profile)
        return phone
    }

    /// The page about a new alert of a service, as it reaches this phone.
    func paged(_ service: String, _ what: String) async throws -> Push {
        let key = what + " " + UUID().uuidString
        try await sandbox.alert(service, key)
        var incident = ""
        #expect(try await eventually {
            incident = try await sandbox.admin("GET", "/v1/incidents")["incidents"].array.first { $0["title"].string == key }?["name"].string ?? ""
            return !incident.isEmpty
        })
        return try await sandbox.push(to: token) { [incident] in $0.kind == .page && $0.incident == incident }
    }
}
