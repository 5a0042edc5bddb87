// swift-tools-version: 6.0
import PackageDescription

let package = Package(
    name: "Tocsin",
    platforms: [.iOS(.v16), .macOS(.v13)],
    products: [
        .library(name: "Tocsin", targets: ["Tocsin"]),
        .library(name: "TocsinTesting", targets: ["TocsinTesting"]),
    ],
    targets: [
        .target(name: "Tocsin"),
        .target(name: "TocsinTesting", dependencies: ["Tocsin"]),
        .testTarget(name: "TocsinTests", dependencies: ["Tocsin", "TocsinTesting"]),
    ],
    swiftLanguageModes: [.v6]
)
