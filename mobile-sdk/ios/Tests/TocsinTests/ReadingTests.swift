import Foundation
import Testing
import TocsinTesting

@testable import Tocsin

@Suite struct Reading {
    private static let stream =
        "\u{FEFF}: hello\r\nid: 1\r\nevent: change\r\ndata: {\"a\":\r\ndata: 1}\r\n\r\ndata\n\nid: 2\rdata: é\r\rid: 3\n\nretry: 5\nunknown: x\ndata:y\n\ndata: cut off"

    @Test(arguments: 1...40)
    func eventsInPiecesOfAnySize(_ size: Int) {
        let bytes = Data(Self.stream.utf8)
        var parser = EventParser()
        let events = stride(from: 0, to: bytes.count, by: size).flatMap { parser.read(bytes[$0..<min($0 + size, bytes.count)]) }
        #expect(
            events == [
                ServerEvent(id: "1", name: "change", data: "{\"a\":\n1}"), ServerEvent(id: "1", name: "message", data: ""),
                ServerEvent(id: "2", name: "message", data: "é"), ServerEvent(id: "3", name: "message", data: "y"),
            ])
    }

    @Test func rubbishIsNoEvent() {
        var random = SystemRandomNumberGenerator()
        for _ in 0..<200 {
            var parser = EventParser()
            _ = parser.read(Data((0..<500).map { _ in [0x0A, 0x0D, 0x3A, 0x00, 0x64, 0xFF, 0xC3].randomElement(using: &random) ?? 0 }))
            #expect(parser.read(Data("\n\ndata: x\n\n".utf8)).last?.data == "x")
        }
    }

    @Test(arguments: [
        ("1970-01-01T00:00:00Z", 0.0), ("2026-03-01T02:00:00Z", 1_772_330_400), ("2026-03-01T02:00:00.5Z", 1_772_330_400.5),
        ("2026-03-01T02:00:00.123456789Z", 1_772_330_400.123456789), ("2024-02-29T23:59:59Z", 1_709_251_199), ("2026-03-01T03:30:00+01:30", 1_772_330_400),
        ("1969-12-31T23:59:59Z", -1), ("2100-03-01T00:00:00Z", 4_107_542_400),
    ])
    func times(_ text: String, _ seconds: Double) throws {
        let date = try #require(Date(rfc3339: text))
        #expect(abs(date.timeIntervalSince1970 - seconds) < 1e-6)
        #expect(abs(try #require(Date(rfc3339: date.rfc3339)).timeIntervalSince1970 - seconds) <= 0.000_5)
    }

    @Test(arguments: ["", "2026", "2026-03-01", "2026-03-01 02:00:00Z", "2026-13-01T02:00:00Z", "2026-03-01T24:00:00Z", "2026-03-01T02:00:00", "2026-03-01T02:00:00.Z", "2026-03-01T02:00:00Zx"])
    func whatIsNoTime(_ text: String) {
        #expect(Date(rfc3339: text) == nil)
    }

    @Test func timesAreWrittenAndRead() throws {
        var random = SystemRandomNumberGenerator()
        for _ in 0..<2_000 {
            let date = Date(timeIntervalSince1970: Double(Int64.random(in: -2_000_000_000_000...4_000_000_000_000, using: &random)) / 1_000)
            #expect(abs(try #require(Date(rfc3339: date.rfc3339)).timeIntervalSince(date)) < 1e-4)
        }
        #expect(Date(httpDate: "Sun, 06 Nov 1994 08:49:37 GMT")?.timeIntervalSince1970 == 784_111_777)
        #expect(Date(httpDate: "yesterday") == nil)
    }

    @Test(arguments: ["[", "{\"a\":", "\"", "{\"a\":1,", "1e999", "\u{0}"])
    func rubbishOfAnyDepthIsNoJSON(_ piece: String) {
        #expect(throws: (any Error).self) { try JSON(Data(String(repeating: piece, count: 100_000).utf8)) }
        #expect(Push(payload: Data(String(repeating: piece, count: 100_000).utf8)) == nil)
    }

    @Test func jsonReadsWhatIsAbsentAsEmpty() throws {
        let json = try JSON(Data(#"{"n":"42","m":7,"s":"","b":true,"a":[1],"o":{"d":"1.5s"}}"#.utf8))
        #expect(json["n"].int == 42 && json["m"].int == 7 && json["x"].int == 0)
        #expect(json["x"]["y"]["z"].string == "" && json["b"].bool && !json["x"].bool)
        #expect(json["o"]["d"].seconds == 1.5 && json["a"].array.count == 1)
        #expect(String(decoding: JSON.fields(["b": "x", "a": nil, "c": "", "d": "a/b"]).data, as: UTF8.self) == #"{"b":"x","d":"a/b"}"#)
    }
}

@Suite struct Clocks {
    private let system = SystemClock.system

    @Test func theBetterMeasurementCounts() {
        let clock = ServerClock(system: system, storage: MemoryStorage())
        clock.learn(night, resolution: 1, sent: night, answered: night) // 0 to 1 s ahead
        #expect(clock.offset == 0.5)
        clock.learn(night.addingTimeInterval(0.2), resolution: 0.001, sent: night, answered: night)
        #expect(abs(clock.offset - 0.2) < 0.001)
        clock.learn(night, resolution: 1, sent: night, answered: night) // says nothing new
        #expect(abs(clock.offset - 0.2) < 0.001)
        clock.learn(night.addingTimeInterval(3_600), resolution: 1, sent: night, answered: night) // somebody has set the phone's clock
        #expect(abs(clock.offset - 3_600.5) < 0.001)
    }

    @Test func whatWasLearnedIsKept() {
        let storage = MemoryStorage()
        ServerClock(system: system, storage: storage).learn(night.addingTimeInterval(-3_600), resolution: 0, sent: night, answered: night)
        #expect(ServerClock(system: system, storage: storage).offset == -3_600)
    }
}

@Suite struct Folders {
    private let url = FileManager.default.temporaryDirectory.appendingPathComponent("tocsin-" + UUID().uuidString)

    @Test func recordsAreWrittenWholeMadeOnceAndRemoved() throws {
        let folder = try Folder(url)
        #expect(try folder.read("a") == nil)
        try folder.write(Data("1".utf8), to: "a")
        try folder.write(Data("22".utf8), to: "a")
        #expect(try folder.read("a") == Data("22".utf8))
        #expect(try folder.make("seen-1"))
        #expect(try !folder.make("seen-1"))
        #expect(try Set(folder.names(beginning: "").keys) == ["a", "seen-1"])
        #expect(abs(try #require(folder.names(beginning: "seen")["seen-1"]).timeIntervalSinceNow) < 60)
        try folder.remove("a")
        try folder.remove("a")
        #expect(try folder.read("a") == nil)
        try folder.write(Data(), to: "../escape")
        #expect(try folder.names(beginning: ".").count == 1)
        try FileManager.default.removeItem(at: url)
    }
}
