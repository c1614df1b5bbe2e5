// swift-tools-version: 6.2
import PackageDescription

// One settings block for every target: what the compiler can refuse, it refuses.
let strict: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .treatAllWarnings(as: .error),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("InternalImportsByDefault"),
]

// The host's executables carry the Swift runtime with them: a minimal image has none.
let standalone: [LinkerSetting] = [
    .unsafeFlags([
        "-static-stdlib", "-l_FoundationCShims", "-l_FoundationCollections", "-Xlinker", "--gc-sections", "-Xlinker",
        "-s",
    ])
]

let system = Target.Dependency.product(name: "SystemPackage", package: "swift-system")
let subprocess = Target.Dependency.product(name: "Subprocess", package: "swift-subprocess")
let arguments = Target.Dependency.product(name: "ArgumentParser", package: "swift-argument-parser")
let yams = Target.Dependency.product(name: "Yams", package: "Yams")
let hummingbird = Target.Dependency.product(name: "Hummingbird", package: "hummingbird")

func library(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
    .target(name: name, dependencies: dependencies, swiftSettings: strict)
}

func tests(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
    .testTarget(
        name: name, dependencies: dependencies, exclude: [], swiftSettings: strict)
}

func shim(_ name: String, pkgConfig: String?, apt: String) -> Target {
    .systemLibrary(name: name, pkgConfig: pkgConfig, providers: [.apt([apt])])
}

let package = Package(
    name: "ballast",
    products: [
        .executable(name: "ballast", targets: ["ballast"]),
        .executable(name: "ballastd", targets: ["ballastd"]),
        .executable(name: "ballastctl", targets: ["ballastctl"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-system", exact: "1.8.1"),
        .package(url: "https://github.com/apple/swift-argument-parser", exact: "1.8.2"),
        .package(url: "https://github.com/swiftlang/swift-subprocess", exact: "1.0.2", traits: []),
        .package(url: "https://github.com/jpsim/Yams", exact: "6.2.2"),
        .package(url: "https://github.com/hummingbird-project/hummingbird", exact: "2.28.1"),
    ],
    targets: [
        // C libraries, found by pkg-config.
        shim("CArchive", pkgConfig: "libarchive", apt: "libarchive-dev"),
        shim("CCrypto", pkgConfig: "libcrypto", apt: "libssl-dev"),
        shim("CCurl", pkgConfig: "libcurl", apt: "libcurl4-openssl-dev"),
        shim("CZstd", pkgConfig: "libzstd", apt: "libzstd-dev"),
        shim("CFdisk", pkgConfig: "fdisk", apt: "libfdisk-dev"),
        shim("CSolv", pkgConfig: "libsolv", apt: "libsolvext-dev"),
        .target(name: "CLinux"),

        // Base: no domain knowledge, no dependency on the rest.
        library("Fault", []),
        library("JSON", ["Fault"]),
        library("FileIO", ["Fault", "CLinux", system]),
        library("Terminal", ["CLinux"]),
        library("Command", ["Fault", "CLinux", subprocess, system]),

        // Platform: one thin, typed wrapper a C library.
        library("Cryptography", ["Fault", "FileIO", "CCrypto", system]),
        library("Compression", ["Fault", "CZstd"]),
        library("Archive", ["Fault", "FileIO", "CArchive", system]),
        library("Transfer", ["Fault", "FileIO", "Cryptography", "CCurl", system]),
        library("BlockDevice", ["Fault", "FileIO", "CLinux", system]),

        // Formats: bytes in, bytes out.
        library("FileTree", ["Fault", "FileIO", system]),
        library("Erofs", ["Fault", "FileTree", "Cryptography"]),
        library("Verity", ["Fault", "Cryptography"]),
        library("PartitionTable", ["Fault", "Cryptography", "CFdisk", "CLinux", system]),
        library("UnifiedKernel", ["Fault"]),
        library("BootLoader", ["Cryptography"]),

        // Shared by builder and host.
        library("Trust", ["Fault", "JSON", "Cryptography", "FileIO", system]),
        library("Release", ["Fault", "JSON", "Cryptography", "Compression", "Trust", "FileIO", system]),

        // Builder.
        library("Manifest", ["Fault", "Terminal", "JSON", "Cryptography", "FileIO", yams, system]),
        library(
            "DebianArchive",
            [
                "Fault", "Terminal", "JSON", "Cryptography", "FileIO", "Command", "Archive", "Transfer", "Manifest",
                "CSolv", system,
            ]),
        library(
            "Assembly",
            [
                "Fault", "Terminal", "JSON", "FileIO", "Command", "Cryptography", "Compression", "Archive", "FileTree",
                "Erofs",
                "Verity",
                "PartitionTable", "UnifiedKernel", "BootLoader", "Release", "Manifest", "DebianArchive", "CLinux",
                system,
            ]),
        library("VirtualMachine", ["Fault", "Terminal", "FileIO", "Command", subprocess, system]),
        library(
            "Publishing",
            ["Fault", "Terminal", "JSON", "FileIO", "Cryptography", "Compression", "Trust", "Release", system]),
        library("Serving", ["Fault", "FileIO", "CLinux", system, hummingbird]),

        // Host.
        library("Fetching", ["Fault", "JSON", "FileIO", "CLinux", "Compression", "Transfer", system]),
        library(
            "BootControl",
            ["Fault", "FileIO", "BlockDevice", "PartitionTable", "BootLoader", "Cryptography", "CLinux", system]),
        library("Control", ["Fault", "JSON", "FileIO", "CLinux", system]),
        library(
            "UpdateAgent",
            [
                "Fault", "Terminal", "JSON", "FileIO", "CLinux", "Command", "Cryptography", "Transfer", "Fetching",
                "BlockDevice", "PartitionTable", "Verity", "BootLoader", "Trust", "Release", "BootControl", "Control",
                system,
            ]),

        // Executables: arguments in, one call, text out.
        .executableTarget(
            name: "ballast",
            dependencies: [
                "Fault", "Terminal", "JSON", "FileIO", "Cryptography", "Manifest", "DebianArchive", "Assembly",
                "VirtualMachine",
                "Trust", "Release", "Publishing", "Serving", arguments, system,
            ],
            swiftSettings: strict),
        .executableTarget(
            name: "ballastd",
            dependencies: [
                "Fault", "Terminal", "JSON", "FileIO", "CLinux", "Fetching", "Trust", "UpdateAgent", "Control", system,
            ],
            swiftSettings: strict, linkerSettings: standalone),
        .executableTarget(
            name: "ballastctl",
            dependencies: ["Fault", "Terminal", "JSON", "Control", arguments, system],
            swiftSettings: strict, linkerSettings: standalone),

        // Tests: a foreign reader first, then laws, then examples.
        .target(
            name: "TestSupport", dependencies: ["Fault", "FileIO", "FileTree", "JSON", "Compression", system],
            path: "Tests/TestSupport",
            swiftSettings: strict),
        tests(
            "ImageTests",
            [
                "Assembly", "Command", "Cryptography", "DebianArchive", "Fault", "FileIO", "FileTree", "JSON",
                "Manifest", "TestSupport", "UpdateAgent", "VirtualMachine", system,
            ]),
        tests(
            "FormatTests",
            [
                "TestSupport",
                "Command", "Cryptography", "Erofs", "Fault", "FileIO", "FileTree", "PartitionTable", "UnifiedKernel",
                "Verity", system,
            ]),
        tests("JSONTests", ["Fault", "JSON"]),
        tests("ManifestTests", ["Fault", "Terminal", "JSON", "FileIO", "Cryptography", "Manifest", system]),
        tests(
            "DebianArchiveTests",
            ["Fault", "JSON", "FileIO", "Command", "Cryptography", "Manifest", "DebianArchive", system]),
        tests("ServingTests", ["Fault", "FileIO", "Command", "Cryptography", "Serving", system]),
        tests(
            "PublishingTests",
            [
                "TestSupport",
                "Fault", "FileIO", "JSON", "Command", "Cryptography", "Compression", "Transfer", "Trust", "Release",
                "Publishing", "Serving", system,
            ]),
        tests(
            "BootControlTests",
            [
                "Fault", "FileIO", "Cryptography", "PartitionTable", "BlockDevice", "BootLoader", "BootControl", system,
            ]),
        tests(
            "UpdateAgentTests",
            [
                "TestSupport",
                "Fault", "FileIO", "JSON", "Command", "Cryptography", "PartitionTable", "Verity", "BlockDevice",
                "BootLoader", "BootControl", "Compression", "Transfer", "Fetching", "Trust", "Release", "Publishing",
                "Serving", "Control", "UpdateAgent", system,
            ]),
        tests("TrustTests", ["Fault", "FileIO", "JSON", "Cryptography", "Trust", system]),
        tests(
            "ReleaseTests",
            ["TestSupport", "Fault", "Command", "JSON", "Cryptography", "Compression", "Trust", "Release"]),
        tests("CryptographyTests", ["Fault", "FileIO", "Command", "Cryptography", system]),
        tests("CompressionTests", ["TestSupport", "Fault", "Command", "Compression"]),
        tests("ControlTests", ["TestSupport", "Fault", "FileIO", "JSON", "Command", "Control", system]),
        tests("TransferTests", ["Fault", "FileIO", "Cryptography", "Transfer", system]),
    ]
)
