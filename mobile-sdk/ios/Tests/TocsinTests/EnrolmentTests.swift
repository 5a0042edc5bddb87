import Foundation
import Testing
import TocsinTesting

@testable import Tocsin

@Suite(.timeLimit(.minutes(1))) struct Enrolment {
    let desk = Desk()
    let profile = DeviceProfile(appID: "com.example.oncall", token: Data(repeating: 0xAB, count: 32))
    private static let code = "0123456789abcdef"

    private func invitation() throws -> Invitation { try Invitation("https://tocsin.example.com/enrol#\(Self.code)") }

    @Test(arguments: [
        "", "https://tocsin.example.com/enrol", "https://tocsin.example.com/enrol#short", "https://tocsin.example.com/other#0123456789abcdef",
        "http://tocsin.example.com/enrol#0123456789abcdef", "javascript:alert(1)", "https://ann@tocsin.example.com/enrol#0123456789abcdef",
        "https:///enrol#0123456789abcdef", "https://tocsin.example.com/enrol?x=1#0123456789abcdef",
    ])
    func whatIsNoLinkIsRefused(_ text: String) {
        #expect { try Invitation(text) } throws: { ($0 as? PhoneError)?.reason == PhoneError.link }
    }

    @Test func linksNameTheirServer() throws {
        #expect(try invitation().server.absoluteString == "https://tocsin.example.com")
        #expect(try Invitation(" https://example.com:8443/oncall/enrol#0123456789abcdef\n").server.absoluteString == "https://example.com:8443/oncall")
        #expect(try Invitation("http://127.0.0.1:8080/enrol#0123456789abcdef").server.absoluteString == "http://127.0.0.1:8080")
    }

    @Test func comingIn() async throws {
        desk.server.on("/v1/devices:enrol", [
            .answer(200, #"{"device":{"name":"devices/d7","user":"users/ann"},"credential":"tcd_new","userDisplayName":"Ann Archer","organization":"Example"}"#)
        ])
        let phone = desk.phone()
        let session = try await phone.enrol(try invitation(), as: profile)
        #expect(session.person == "Ann Archer" && session.device == "devices/d7")
        #expect(desk.phone().session == session)
        #expect(try desk.secrets.read("credential") == Data("tcd_new".utf8))
        let device = try JSON(try #require(desk.server.heard("/v1/devices:enrol").first).body)["device"]
        #expect(device["platform"] == "PLATFORM_IOS")
        #expect(device["address"]["value"].string == String(repeating: "ab", count: 32))
        #expect(Data(base64Encoded: device["sealKey"].string)?.count == 65)
        #expect(Data(base64Encoded: device["unlockKey"].string)?.count == 65)
        #expect(UUID(uuidString: device["installId"].string) != nil)
        #expect(device["permission"] == "PERMISSION_NOT_DETERMINED")
    }

    @Test func anOldLinkAsksForANewOne() async throws {
        desk.server.on("/v1/devices:enrol", [refusal(401, 16, "ENROLMENT_CODE")])
        let phone = desk.phone()
        await #expect { try await phone.enrol(try invitation(), as: profile) } throws: { ($0 as? PhoneError)?.remedy == .newLink }
        #expect(phone.session == nil)
    }

    @Test func aFullDiskUsesNoLinkUp() async throws {
        desk.storage.isFull = true
        let phone = desk.phone()
        await #expect { try await phone.enrol(try invitation(), as: profile) } throws: { ($0 as? PhoneError)?.remedy == .freeSpace }
        #expect(desk.server.heard("").isEmpty)
    }

    @Test func aLockedPhoneUsesNoLinkUp() async throws {
        desk.secrets.isLocked = true
        let phone = desk.phone()
        await #expect { try await phone.enrol(try invitation(), as: profile) } throws: { ($0 as? PhoneError)?.remedy == .unlock }
        #expect(desk.server.heard("").isEmpty)
    }

    @Test func aDiskThatFillsUpMeanwhileTakesTheDeviceBack() async throws {
        let storage = desk.storage
        desk.server.on("/v1/devices:enrol") { _ in
            storage.isFull = true
            return .answer(200, #"{"device":{"name":"devices/d7","user":"users/ann"},"credential":"tcd_new"}"#)
        }
        desk.server.on(":revoke", [.answer(200, "{}")])
        let phone = desk.phone()
        await #expect { try await phone.enrol(try invitation(), as: profile) } throws: { ($0 as? PhoneError)?.remedy == .freeSpace }
        let undo = try #require(desk.server.heard("/v1/devices/d7:revoke").first)
        #expect(undo.headers["authorization"] == "Bearer tcd_new")
        #expect(phone.session == nil)
    }

    @Test func whoeverWasHereIsSignedOutFirst() async throws {
        let phone = try desk.enrolled()
        desk.server.on(":previewEnrolment", [.answer(200, #"{"userDisplayName":"Ben Baker"}"#)])
        desk.server.on("/v1/devices/me:revoke", [.unreachable, .answer(200, "{}")])
        desk.server.on("/v1/devices:enrol", [
            .answer(200, #"{"device":{"name":"devices/d8","user":"users/ben"},"credential":"tcd_ben","userDisplayName":"Ben Baker"}"#)
        ])
        await #expect { try await phone.enrol(try invitation(), as: profile) } throws: { ($0 as? PhoneError)?.remedy == .retry }
        #expect(phone.session?.user == "users/ann")
        #expect(desk.server.heard("/v1/devices:enrol").isEmpty)
        #expect(try await phone.enrol(try invitation(), as: profile).user == "users/ben")
        #expect(desk.server.heard("/v1/devices/me:revoke").last?.headers["authorization"] == "Bearer tcd_secret")
    }

    @Test func aLinkThatIsOverSignsNobodyOut() async throws {
        let phone = try desk.enrolled()
        desk.server.on(":previewEnrolment", [refusal(400, 9, "ENROLMENT_CODE")])
        await #expect { try await phone.enrol(try invitation(), as: profile) } throws: { ($0 as? PhoneError)?.remedy == .newLink }
        #expect(phone.session?.user == "users/ann")
        #expect(desk.server.heard(":revoke").isEmpty)
    }

    /// The server signs Ann out while a tap of hers waits; Ben comes before it is tried again.
    @Test func aTapOfTheOneBeforeIsNotTheNextOnes() async throws {
        desk.server.on(":resolve", [.unreachable])
        desk.server.on("/v1/devices/me", [refusal(401, 16, "CREDENTIAL_INVALID")])
        desk.server.on("/v1/devices:enrol", [.answer(200, #"{"device":{"name":"devices/d8","user":"users/ben"},"credential":"tcd_ben"}"#)])
        let phone = try desk.enrolled()
        let told = await phone.actions.tap(.resolve, on: Incident(["name": "incidents/a", "state": "STATE_ACKNOWLEDGED"]))
        #expect(await eventually { desk.server.heard(":resolve").count == 1 })
        _ = try? await phone.device()
        try await phone.enrol(try invitation(), as: profile)
        #expect(await told.first(9).last?.refusal?.remedy == .signIn)
        #expect(desk.server.heard(":resolve").allSatisfy { $0.headers["authorization"] == "Bearer tcd_secret" })
        #expect(await phone.actions.pending.isEmpty)
    }

    @Test func registeringSaysWhenTheAddressIsAnothers() async throws {
        let phone = try desk.enrolled()
        desk.server.on("/v1/devices:register", [.answer(200, #"{"device":{"name":"devices/d7","state":"STATE_UNVERIFIED"},"confirmationRequired":true}"#)])
        desk.server.on(":confirmAddress", [.answer(200, #"{"name":"devices/d7","state":"STATE_ACTIVE"}"#)])
        let registration = try await phone.register(profile)
        #expect(registration.needsConfirmation && registration.device.state == .unverified)
        let push = try #require(Push(["t": ["d": "0b9e3c1a-6f0d-4a57-9d1e-2f7c5b8a4e10", "k": "info", "m": ["nonce": "q3Zk0m9bT2uN5xY8cV1aRw"]]]))
        #expect(try await phone.confirmAddress(nonce: try #require(push.nonce)).state == .active)
    }

    @Test func settingsAreReportedAndExplained() async throws {
        let phone = try desk.enrolled()
        desk.server.on("/v1/devices/d7", [.answer(200, #"{"name":"devices/d7","health":"HEALTH_RED","healthReason":"It may not notify."}"#)])
        let denied = AlertSettings(permission: .denied)
        let device = try await phone.report(denied)
        #expect(device.health == .red && device.healthReason == "It may not notify.")
        let call = try #require(desk.server.heard("/v1/devices/d7").first)
        #expect(call.method == "PATCH" && call.query == "updateMask=permission%2Ccapabilities")
        #expect(try JSON(call.body)["permission"] == "PERMISSION_DENIED")
        #expect(denied.obstacles == [.permissionDenied])
        #expect(AlertSettings(permission: .granted, alert: true, sound: true, lockScreen: true).obstacles == [.heldByFocus])
        #expect(AlertSettings(permission: .granted, timeSensitive: true, alert: true, sound: true, lockScreen: true).obstacles.isEmpty)
        #expect(AlertSettings(permission: .provisional).obstacles == [.deliveredQuietly])
    }

    @Test func aCredentialThatIsGoneIsForgotten() async throws {
        let phone = try desk.enrolled()
        _ = try phone.account.installID()
        desk.server.on("/v1/devices/me", [refusal(401, 16, "CREDENTIAL_INVALID")])
        await #expect { try await phone.device() } throws: { ($0 as? PhoneError)?.remedy == .signIn }
        #expect(phone.session == nil)
        #expect(Set(desk.storage.names(beginning: "").keys).isSubset(of: ["install", "clock"]))
    }
}
