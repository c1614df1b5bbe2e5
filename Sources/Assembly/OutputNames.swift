import SystemPackage

/// The outputs' paths while they are made.
struct OutputNames {
    let disk: FilePath
    let root: FilePath
    let hashes: FilePath
    let kernel: FilePath
    let packages: FilePath

    /// The files' names.
    var all: Set<String> { Set([disk, root, hashes, kernel, packages].compactMap { $0.lastComponent?.string }) }

    init(directory: FilePath, identity: ImageIdentity) {
        let stem = identity.fileStem
        disk = directory.appending("\(stem).raw")
        root = directory.appending("\(stem).root.erofs")
        hashes = directory.appending("\(stem).root.verity")
        kernel = directory.appending("\(stem).efi")
        packages = directory.appending("packages.json")
    }
}
