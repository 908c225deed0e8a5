package rpm

// Tags of a signature.
const (
	sigDSA         tag = 267 // of the header: DSA and EdDSA
	sigRSA         tag = 268 // of the header
	sigSHA256      tag = 273 // of the header
	sigLongSize    tag = 270
	sigLongArchive tag = 271
	sigOpenPGP     tag = 278
	sigSize        tag = 1000
	sigPayloadSize tag = 1007
)

// Tags of a header.
const (
	tagI18NTable         tag = 100
	tagName              tag = 1000
	tagVersion           tag = 1001
	tagRelease           tag = 1002
	tagEpoch             tag = 1003
	tagSummary           tag = 1004
	tagDescription       tag = 1005
	tagBuildTime         tag = 1006
	tagBuildHost         tag = 1007
	tagSize              tag = 1009
	tagVendor            tag = 1011
	tagLicense           tag = 1014
	tagPackager          tag = 1015
	tagGroup             tag = 1016
	tagSources           tag = 1018
	tagURL               tag = 1020
	tagOS                tag = 1021
	tagArch              tag = 1022
	tagPreInstall        tag = 1023
	tagPostInstall       tag = 1024
	tagPreRemove         tag = 1025
	tagPostRemove        tag = 1026
	tagOldFileNames      tag = 1027
	tagFileSizes         tag = 1028
	tagFileModes         tag = 1030
	tagFileRDevs         tag = 1033
	tagFileTimes         tag = 1034
	tagFileDigests       tag = 1035
	tagFileLinks         tag = 1036
	tagFileFlags         tag = 1037
	tagFileOwners        tag = 1039
	tagFileGroups        tag = 1040
	tagSource            tag = 1044
	tagProvides          tag = 1047
	tagRequireFlags      tag = 1048
	tagRequires          tag = 1049
	tagRequireVersions   tag = 1050
	tagConflictFlags     tag = 1053
	tagConflicts         tag = 1054
	tagConflictVersions  tag = 1055
	tagChangelogTime     tag = 1080
	tagChangelogName     tag = 1081
	tagChangelogText     tag = 1082
	tagObsoletes         tag = 1090
	tagFileDevices       tag = 1095
	tagFileInodes        tag = 1096
	tagFileLangs         tag = 1097
	tagSourcePackage     tag = 1106
	tagProvideFlags      tag = 1112
	tagProvideVersions   tag = 1113
	tagObsoleteFlags     tag = 1114
	tagObsoleteVersions  tag = 1115
	tagDirIndexes        tag = 1116
	tagBaseNames         tag = 1117
	tagDirNames          tag = 1118
	tagPayloadFormat     tag = 1124
	tagPayloadCompressor tag = 1125
	tagPayloadFlags      tag = 1126
	tagPostTransaction   tag = 1152
	tagLongFileSizes     tag = 5008
	tagLongSize          tag = 5009
	tagFileDigestAlgo    tag = 5011
	tagRecommends        tag = 5046
	tagRecommendVersions tag = 5047
	tagRecommendFlags    tag = 5048
	tagSuggests          tag = 5049
	tagSuggestVersions   tag = 5050
	tagSuggestFlags      tag = 5051
	tagSupplements       tag = 5052
	tagSupplementVersion tag = 5053
	tagSupplementFlags   tag = 5054
	tagEnhances          tag = 5055
	tagEnhanceVersions   tag = 5056
	tagEnhanceFlags      tag = 5057
	tagEncoding          tag = 5062
	tagPayloadDigest     tag = 5092
	tagPayloadDigestAlgo tag = 5093
)

// Bits of the flags of a relation.
const (
	senseLess    = 1 << 1
	senseGreater = 1 << 2
	senseEqual   = 1 << 3
	sensePre     = 1<<6 | 1<<9 | 1<<10 | 1<<11 | 1<<12 // before, and for each of the four scripts
	senseRpmlib  = 1 << 24
	senseConfig  = 1 << 28
)

// Bits of the flags of a file.
const (
	fileConfig    = 1 << 0
	fileDoc       = 1 << 1
	fileNoReplace = 1 << 4
	fileSpec      = 1 << 5
	fileGhost     = 1 << 6
	fileLicense   = 1 << 7
)

// Types of files in a mode.
const (
	modeType    = 0o170000
	modeDir     = 0o040000
	modeRegular = 0o100000
	modeLink    = 0o120000
)

// digests are the algorithms of OpenPGP that are taken for a digest.
const (
	algoSHA256 = 8
	algoSHA384 = 9
	algoSHA512 = 10
)
